const startFind = () => {
  const [find, condition] = [byId("find"), byId("condition")];
  const names = DATA.conditions;
  const nameOf = (index) => WELLS.condition[index] || "no condition";
  // Chosen by place, since a condition may have any name.
  const hits = DATA.hits.filter((hit) => hit.direction).flatMap((hit) => hit.wells);
  const groups = [["all", null], ...(hits.length ? [[`hits (${plural(hits.length, "well")})`, hits]] : []),
    ...names.map((name) => [name, WELLS.well.map((_, index) => index).filter((index) => nameOf(index) === name)])];
  condition.append(...groups.map(([text], place) => option(place || "", text)));
  byId("found").append(...names.slice(0, 500).map((name) => option(name, name)));
  const matches = (text) => {
    const asked = text.trim().toLowerCase();
    const indices = WELLS.well.map((_, index) => index);
    const named = indices.filter((index) => WELLS.well[index].toLowerCase() === asked.replace(/^([a-z]+)(\d)$/, "$10$2") || keyOf(index).toLowerCase() === asked);
    return named.length ? named : indices.filter((index) => nameOf(index).toLowerCase().includes(asked) || keyOf(index).toLowerCase().includes(asked));
  };
  const clear = () => {
    [find.value, condition.value] = ["", ""];
    highlight(null);
  };
  find.addEventListener("input", () => {
    condition.value = "";
    highlight(find.value.trim() ? matches(find.value) : null);
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      clear();
    } else if (event.key === "Enter" && find.value.trim()) {
      const [first] = matches(find.value);
      if (first === undefined) return;
      focusWell(first);
      openWell(first);
    }
  });
  condition.addEventListener("change", () => {
    find.value = "";
    highlight(groups[Number(condition.value)][1]);
  });
  byId("clear").addEventListener("click", () => { clear(); find.focus(); });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      find.focus();
      show(find);
    } else if (event.key === "Escape") {
      if (maps.chosen !== null) closePanel();
      else hush();
    }
  });
};
