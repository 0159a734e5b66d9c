"""What the pages that stand alone have in common: they load nothing and run nothing."""

from __future__ import annotations

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Of such a page's content, for its ``Content-Security-Policy``."""

CSS = """
:root{color-scheme:light dark}
body{margin:0;padding:28px;background:var(--nbp-paper);color:var(--nbp-ink);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:1280px;margin:0 auto}
h1{font-size:20px;font-weight:600;margin:0 0 2px}
p{margin:0 0 18px;color:var(--nbp-muted)}
figure{margin:0;overflow-x:auto;border:1px solid var(--nbp-new-tint);border-radius:10px}
figure svg{display:block}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding:0 0 8px}
th,td{text-align:left;vertical-align:top;padding:8px 14px 8px 0;overflow-wrap:anywhere;
border-bottom:1px solid var(--nbp-new-tint)}
"""
"""Its look; the colours are those of the theme."""
