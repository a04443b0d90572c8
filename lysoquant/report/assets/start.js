all("table.sortable").forEach(makeSortable);
all(".live-only").forEach((element) => { element.hidden = false; });
startCopy();

if (N_WELLS && DATA.measures.length) {
  byId("live").append(...all(".static-maps .plate-maps").map(makeMap));
  document.body.append(tip);
  const select = byId("measure");
  grouped(select, DATA.measures.map((measure, at) => ({ value: at, text: measure.title, group: measure.group })));
  select.addEventListener("change", () => { maps.measure = Number(select.value); paint(); });
  byId("stretch").addEventListener("change", paint);
  all(".explorer").forEach((explorer) => { explorer.hidden = false; });
  document.documentElement.classList.add("live");
  paint();
  if (DATA.note) byId("live").append(make("p", { class: "aside" }, DATA.note));
  startFind();
  startStrips();
  startLinks();
}

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = all("main > section details:not([open])");
  opened.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
