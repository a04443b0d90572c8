"""Texts that have broken programs: shells, pages, paths, spreadsheets, terminals, encodings."""

from __future__ import annotations

from typing import Final

MARK: Final = "lysofuzz"
"""A tag or attribute of this name in a page is one that a text broke out of its place to make."""

TOUCH: Final = "PWNED"
"""A file of this name is one that a shell was made to write."""

SHELL: Final = (
    f"$(touch {TOUCH})",
    f"`touch {TOUCH}`",
    f"; touch {TOUCH};",
    f"' ; touch {TOUCH} ; '",
    f'" && touch {TOUCH} && "',
    f"| touch {TOUCH}",
    "${HOME}",
    "%PATH% !x",
    "{wells} {{plate}} {0} %s %(x)s",
    "--help",
    "-rf *",
    "*?[a-z]",
    "a\\b\\",
)
PAGE: Final = (
    f"<{MARK}>",
    f'"><{MARK} onload=alert(1)>',
    f"' {MARK}='1",
    f'" {MARK}="1',
    f"</script><{MARK}>",
    f"</style></title></svg><{MARK}>",
    f"<!--<{MARK}>",
    f"]]><{MARK}/>",
    "&lt;b&gt; &amp;amp; &#60;",
    "{{ 7 * 7 }} {% raw %}",
    "$x^2$ \\frac{ $_{",
)
PATHS: Final = (
    "../ESCAPED",
    "../../../../../../ESCAPED",
    "a/../../ESCAPED",
    "/ESCAPED",
    "..",
    ".",
    "/",
    "//",
    "~",
    "~root/ESCAPED",
    "/dev/null",
    "/etc/passwd",
    "C:\\ESCAPED",
    "file:///etc/passwd",
    "a/b",
    "CON",
    "x" * 300,
)
CELLS: Final = (
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    '=HYPERLINK("http://x","y")',
    "nan",
    "NaN",
    "inf",
    "None",
    "null",
    "TRUE",
    "1e5",
    "007",
    "0x10",
    "1,5",
    "1;5",
    "a,b",
    'it\'s "quoted"',
    "#comment",
    "N/A",
)
SCRIPTS: Final = (
    "\u202egpj.exe",
    "\u200b\u200d",
    "e\u0301\u0301\u0301" * 20,
    "\N{GREEK SMALL LETTER MU}m \N{MICRO SIGN}m",
    "\U0001f9ea\U0001f1e9\U0001f1ea",
    "\u0645\u0631\u062d\u0628\u0627",
    "\uff21\uff22",
    "\ufeffx",
    "\u2028\u2029",
    "\x85",
    "\x1b[31m\x1b]0;x\x07",
    "\x00",
    "a\x00b",
    "\r",
    "a\tb",
    "a\nb",
    "\x7f",
    "\ufffe\uffff",
    "",
    " ",
    " x ",
)
LONG: Final = ("y" * 5000, "\u00e9" * 3000)

TEXTS: Final = (*SHELL, *PAGE, *PATHS, *CELLS, *SCRIPTS, *LONG)

NUMBERS: Final = (
    "0",
    "-1",
    "-0",
    "1.5",
    "1e400",
    "-1e400",
    "1e-400",
    "nan",
    "inf",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "1" + "0" * 400,
    "0x7fffffff",
    "1_000",
    "\u0663",
    "\u00b2",
    "1,0",
    " 1",
    "+1",
    "TRUE",
    "",
)
"""What stands where a number is due."""
