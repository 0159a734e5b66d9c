"""Texts that attack whoever shows them: a browser, a terminal, another program's reader.

Whatever comes to life in a browser calls ``alert``, sets ``window.pwned`` or asks the host EVIL.
"""

from __future__ import annotations

import re

EVIL = "evil.invalid"
"""A host that does not exist; a request for it is a break-out."""

RUN = f"window.pwned=1;alert(1);fetch('//{EVIL}/f')"

HTML = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f'"><img src=x onerror="{RUN}">',
    f"' onmouseover='{RUN}' autofocus onfocus='{RUN}",
    f'" onload="{RUN}" x="',
    f"<img src=//{EVIL}/i.png>",
    f"</title></svg><img src=x onerror={RUN.replace(' ', '')}>",
    f"<svg onload={RUN}><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"<a href=javascript:{RUN}>x</a>",
    "]]><![CDATA[<script>alert(1)</script>",
    "<!--",
    "--><script>alert(1)</script>",
    "<!DOCTYPE x [<!ENTITY y 'z'>]>&y;",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "</textarea></style></noscript></template><script>alert(1)</script>",
)

STYLES = (
    f"</style><style>*{{background:url(//{EVIL}/c)}}",
    f"}}*{{background:url(//{EVIL}/c)}}",
    f"red;background:url(//{EVIL}/c)",
    f"@import '//{EVIL}/c';",
    "expression(alert(1))",
)

ADDRESSES = (
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    f"//{EVIL}/x",
    "vbscript:msgbox(1)",
)

MERMAID = (
    f'"):::x\n  click n0 "javascript:{RUN}"',
    'x")\n  click n0 call alert(1)',
    '%%{init: {"securityLevel": "loose"}}%%',
    "end\nsubgraph x",
    "#quot;#35;",
    "---\nconfig:\n  securityLevel: loose\n---",
)

DOT = (
    f'"]; evil [label="x" URL="javascript:{RUN}',
    "a\\N\\G\\l\\",
    '\\" ]; x [label=<<b>x</b>>]; y [label="',
    "}\ndigraph x {",
)

MARKDOWN = (
    f"[x](javascript:{RUN})",
    f"![x](//{EVIL}/i.png)",
    "`**bold**`",
    "$\\href{javascript:alert(1)}{x}$",
    "{{7*7}}${7*7}#{7*7}",
)

TERMINAL = (
    "\x1b[2J\x1b[31mred",
    "\x1b]0;a title\x07",
    f"\x1b]8;;http://{EVIL}\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJmIC8=\x07",
    "\x9b31mred",
    "\x9d0;a title\x9c",
    "over\rwritten\x08\x08",
    "[bold red]rich[/bold red]",
    f"[link=http://{EVIL}]rich[/link]",
    "[/]",
    "nul\x00 del\x7f",
)

DIRECTION = (
    "turned \u202egnp.exe",
    "isolated \u2067abc\u2069",
    "mark \u200f \u061c",
    "tag \U000e0041",
)

ODD = ("lone \ud800 surrogate", "\ufffe\uffff", "-rf $(reboot) ; x", "📥 数据 e\u0301", "x" * 3000)

ALL = (*HTML, *STYLES, *ADDRESSES, *MERMAID, *DOT, *MARKDOWN, *TERMINAL, *DIRECTION, *ODD)
"""Every text, for renderers that are given values."""

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What may steer a terminal or turn the direction of a line; a tab and a line end may not."""


def names() -> list[str]:
    """Those that a spec accepts as a task's name, made acceptable where that takes little."""
    found = {}
    for text in ALL:
        name = "".join(c for c in text if c.isprintable() and c not in "/\\*?[").strip(" -")
        if name and len(name.encode()) <= 150:
            found[name] = None
    return list(found)
