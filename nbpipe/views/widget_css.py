"""The panel's style sheet. Colours are the host's where it has them, else those of `theme`."""

from __future__ import annotations

from functools import cache

from nbpipe.views.theme import DARK_PAGE, LIGHT_PAGE, STATE_STYLES, css_rules

_SHEET = """
.nbp-panel{--nbp-rule:var(--jp-border-color2,var(--vscode-panel-border,#8886));
--nbp-brand:var(--jp-brand-color1,var(--vscode-focusBorder,#1976d2));
--nbp-soft:var(--jp-layout-color2,var(--vscode-editorWidget-background,#8881));
--nbp-mono:var(--jp-code-font-family,ui-monospace,Consolas,"Liberation Mono",monospace);
--jp-widgets-margin:0;--jp-widgets-inline-margin:0;
color:var(--nbp-ink);font:13px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Liberation Sans",sans-serif;border:1px solid var(--nbp-rule);border-radius:8px;
overflow:hidden;box-sizing:border-box;margin:2px 0;max-width:1280px;background:var(--nbp-paper)}
.nbp-panel .widget-html,.nbp-panel .widget-html-content{font:inherit;line-height:inherit;
color:inherit;overflow:visible;height:auto;width:auto;align-self:stretch}
.nbp-panel p,.nbp-panel pre,.nbp-panel table{margin:0}
.nbp-hidden{display:none!important}
.nbp-head{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 18px;padding:12px 16px 9px}
.nbp-name{font-size:15px;font-weight:650}
.nbp-tally{display:flex;flex-wrap:wrap;gap:2px 14px}
.nbp-build{margin-left:auto;display:flex;align-items:center;gap:9px;color:var(--nbp-muted);
font-variant-numeric:tabular-nums}
.nbp-bar{display:inline-block;width:132px;height:6px;border-radius:3px;overflow:hidden;
background:var(--nbp-new-tint);vertical-align:middle}
.nbp-bar i{display:block;height:100%;background:var(--nbp-running-edge)}
.nbp-bar.nbp-done i{background:var(--nbp-fresh-edge)}
.nbp-bar.nbp-failed i{background:var(--nbp-failed-edge)}
.nbp-bar.nbp-small{width:64px;height:4px}
.nbp-panel .nbp-now{margin-left:auto}
.nbp-now .widget-html-content>div{display:flex;flex-wrap:wrap;justify-content:flex-end;
gap:2px 18px;font-size:12px;color:var(--nbp-muted)}
.nbp-now span{white-space:nowrap}
.nbp-toolbar{display:flex;flex-flow:row wrap;align-items:center;gap:8px;padding:0 16px 12px;
border-bottom:1px solid var(--nbp-rule)}
.nbp-panel .jupyter-button{font:inherit;height:28px;line-height:26px;padding:0 12px;width:auto;
margin:0;border:1px solid var(--nbp-rule);border-radius:5px;background:transparent;
color:var(--nbp-ink);box-shadow:none;cursor:pointer}
.nbp-panel .jupyter-button:hover:enabled{background:var(--nbp-soft);box-shadow:none}
.nbp-panel .jupyter-button:disabled{opacity:.45;cursor:default}
.nbp-panel .jupyter-button:focus-visible,.nbp-panel input:focus-visible,
.nbp-panel a:focus-visible,.nbp-panel summary:focus-visible{outline:2px solid var(--nbp-brand);
outline-offset:1px}
.nbp-toolbar .jupyter-button.nbp-main{background:#1668b8;border-color:#1668b8;color:#fff;
font-weight:600;max-width:360px;overflow:hidden;text-overflow:ellipsis}
.nbp-toolbar .jupyter-button.nbp-main:hover:enabled{background:#12579b}
.nbp-toolbar .widget-inline-hbox{height:28px;width:auto;align-items:center}
.nbp-toolbar .widget-label,.nbp-toolbar .widget-label-basic{font:inherit;width:auto;
color:var(--nbp-muted);margin:0;padding:0;min-width:0;line-height:28px;height:28px}
.nbp-toolbar .widget-checkbox{width:auto;margin-left:6px}
.nbp-toolbar .widget-label-basic{display:inline-flex;align-items:center;gap:6px}
.nbp-toolbar .widget-label-basic input{margin:0}
.nbp-toolbar .nbp-jobs{margin-left:6px;gap:6px}
.nbp-toolbar .nbp-jobs input{width:54px;height:28px;font:inherit;color:var(--nbp-ink);
background:var(--nbp-paper);border:1px solid var(--nbp-rule);border-radius:5px;padding:0 0 0 8px}
.nbp-middle{display:flex;flex-flow:row wrap;align-items:stretch;overflow:hidden;
border-bottom:1px solid var(--nbp-rule)}
.nbp-left{position:relative;flex:3 1 400px;min-width:0;overflow:hidden}
.nbp-left .jupyter-button.nbp-fit{position:absolute;right:8px;bottom:8px;z-index:5;height:24px;
line-height:22px;padding:0 9px;font-size:12px;color:var(--nbp-muted);background:var(--nbp-paper)}
.nbp-dag{position:relative;width:100%;overflow:hidden}
.nbp-dag .nbp-canvas.custom-widget{position:absolute;inset:0;width:100%;height:100%;margin:0;
background:transparent;border:0;resize:none}
.nbp-dag .nbp-sentinel.custom-widget{position:absolute;left:0;top:0;width:20px;height:20px;margin:0;
background:transparent;border:0;visibility:hidden}
.nbp-dag-static{overflow:auto;max-height:420px;padding:8px}
.nbp-picture{display:block;max-width:100%;height:auto}
.nbp-details{display:flex;flex-flow:column;flex:2 1 330px;min-width:0;
overflow:hidden;border:solid var(--nbp-rule);border-width:1px 0 0 1px;margin:-1px 0 0 -1px}
.nbp-about{padding:12px 16px 6px}
.nbp-about b{font-size:14px}
.nbp-about p{margin-top:2px;overflow-wrap:anywhere}
.nbp-about .nbp-links{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:12px;margin-top:4px}
.nbp-panel a{color:var(--jp-content-link-color,var(--vscode-textLink-foreground,#1668b8))}
.nbp-panel .nbp-tabs{flex:0 0 auto;width:auto;height:auto;padding:0 10px;overflow:visible;
border-bottom:1px solid var(--nbp-rule)}
.nbp-panel .nbp-tabs>.widget-label{display:none}
.nbp-panel .nbp-tabs .jupyter-button{border:0;border-radius:0;height:30px;padding:0 8px;
color:var(--nbp-muted);border-bottom:2px solid transparent;margin-bottom:-1px}
.nbp-panel .nbp-tabs .jupyter-button.mod-active{color:var(--nbp-ink);background:transparent;
font-weight:600;border-bottom-color:var(--nbp-brand);box-shadow:none}
.nbp-body{flex:1 1 auto;min-height:0;overflow:auto!important;padding:10px 16px 14px}
.nbp-body pre{font:12px/1.5 var(--nbp-mono);white-space:pre;color:var(--nbp-ink);
background:transparent;padding:0;border:0;tab-size:4}
.nbp-body pre.nbp-wrap{white-space:pre-wrap;overflow-wrap:anywhere}
.nbp-muted{color:var(--nbp-muted)}
.nbp-num{color:var(--nbp-muted);user-select:none;display:inline-block;min-width:2.4em;
padding-right:1em;text-align:right;opacity:.75}
.nbp-body .nbp-add{color:var(--nbp-fresh-ink);background:var(--nbp-fresh-tint);display:block}
.nbp-body .nbp-del{color:var(--nbp-failed-ink);background:var(--nbp-failed-tint);display:block}
.nbp-body .nbp-hunk{color:var(--nbp-muted);display:block}
.nbp-product{margin-bottom:16px}
.nbp-product header{display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline;
margin-bottom:5px}
.nbp-product code{font:12px/1.5 var(--nbp-mono);background:none;padding:0;color:inherit;
overflow-wrap:anywhere}
.nbp-product img{max-width:100%;max-height:300px;border-radius:4px;background:#fff}
.nbp-scroll{overflow-x:auto}
.nbp-panel table.nbp-grid{border-collapse:collapse;font-size:12px;border:0;width:auto;
font-variant-numeric:tabular-nums;color:inherit;table-layout:auto}
.nbp-grid th,.nbp-grid td{text-align:left!important;padding:3px 14px 3px 0!important;
white-space:nowrap;border:0;border-bottom:1px solid var(--nbp-new-tint)!important;
background:none!important}
.nbp-grid th{font-weight:600;color:var(--nbp-muted)}
.nbp-grid .nbp-right{text-align:right!important}
.nbp-spark{display:inline-block;height:7px;border-radius:2px;background:var(--nbp-fresh-edge);
min-width:2px;vertical-align:middle}
.nbp-spark.failed{background:var(--nbp-failed-edge)}
.nbp-tasks{display:grid;grid-template-columns:minmax(130px,max-content) minmax(0,1fr);
max-height:330px;overflow:auto;position:relative;background:var(--nbp-paper);align-items:start}
.nbp-panel .nbp-rows{width:auto;height:auto;padding:0 0 4px;max-width:300px;overflow:hidden}
.nbp-panel .nbp-rows>.widget-label{display:none}
.nbp-panel .nbp-rows::before{content:"task";display:block;height:27px;line-height:28px;
padding-left:16px;font-size:11.5px;font-weight:600;color:var(--nbp-muted)}
.nbp-panel .nbp-rows .widget-toggle-buttons,.nbp-panel .nbp-rows>div{display:flex;
flex-flow:column;overflow:visible}
.nbp-panel .nbp-rows .jupyter-button{height:27px;line-height:26px;width:100%;text-align:left;
border:0;border-top:1px solid var(--nbp-new-tint);border-radius:0;padding:0 12px 0 16px;
font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;flex:0 0 27px}
.nbp-panel .nbp-rows .jupyter-button.mod-active{box-shadow:inset 3px 0 var(--nbp-brand);
background:var(--nbp-soft)}
.nbp-panel .nbp-rows .jupyter-button:focus-visible{outline-offset:-2px}
.nbp-panel table.nbp-table{border-collapse:collapse;border:0;width:100%;table-layout:fixed;
font-size:13px;color:inherit;margin-bottom:4px}
.nbp-table th,.nbp-table td{height:27px;line-height:26px;padding:0 12px!important;
box-sizing:border-box;text-align:left!important;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;border:0;
border-top:1px solid var(--nbp-new-tint)!important;background:none!important;
max-width:none;vertical-align:middle}
.nbp-table thead th{height:28px;border-top:0!important;font-size:11.5px;font-weight:600;
color:var(--nbp-muted)}
.nbp-table tr.nbp-on>*{background:var(--nbp-soft)!important}
.nbp-table .nbp-right{text-align:right!important;font-variant-numeric:tabular-nums}
.nbp-table .nbp-right:last-child{padding-right:16px!important}
.nbp-table .nbp-none{width:1px;padding:0!important}.nbp-table col.z{width:1px}
.nbp-table col.a{width:98px}.nbp-table col.c{width:106px}.nbp-table col.d{width:84px}
.nbp-sr{position:absolute!important;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
.nbp-say{padding:0 16px}
.nbp-say p{padding:7px 0;overflow-wrap:anywhere;white-space:pre-line;
border-bottom:1px solid transparent}
.nbp-say .nbp-error{color:var(--nbp-failed-ink);background:var(--nbp-failed-tint);
margin:0 -16px;padding:7px 16px;font-weight:500}
@keyframes nbp-pulse{50%{opacity:.45}}
.nbp-panel .nbp-live{animation:nbp-pulse 1.6s ease-in-out infinite}
@media(prefers-reduced-motion:reduce){.nbp-panel *,.nbp-panel *::before{animation:none!important;
transition:none!important;scroll-behavior:auto!important}}
"""

_CODE = {
    "k": ("keyword", "#0a6c2f", "#7cc4f2"),
    "s": ("string", "#a3271c", "#f0a07c"),
    "c": ("comment", "#4d6f74", "#93a7a9"),
    "m": ("number", "#075f8a", "#9fd39b"),
    "d": ("def", "#2340c0", "#9db7ff"),
    "o": ("operator", "#6a3fb5", "#c9a6ff"),
}
"""Kinds of code: JupyterLab's variable for it, and what stands in on a light or dark page."""


def themed(selector: str, light: str, dark: str) -> str:
    """CSS rules for one selector on light and on dark pages; the system decides where none."""
    rules = [f"{selector}{{{light}}}", f"@media(prefers-color-scheme:dark){{{selector}{{{dark}}}}}"]
    for pages, rule in ((LIGHT_PAGE, light), (DARK_PAGE, dark)):
        rules.append(",".join(f"{page} {selector}" for page in pages) + f"{{{rule}}}")
    return "\n".join(rules)


@cache
def panel_css() -> str:
    """The style sheet of every panel."""
    states = "\n".join(f".nbp-panel .s-{s}{{color:var(--nbp-{s}-ink)}}" for s in STATE_STYLES)
    light, dark = (
        ";".join(f"--nbp-code-{kind}:{colours[i]}" for kind, colours in _CODE.items())
        for i in (1, 2)
    )
    code = "\n".join(f".nbp-body .c-{kind}{{color:var(--nbp-code-{kind})}}" for kind in _CODE)
    return "\n".join(
        (
            css_rules(".nbp-panel"),
            themed(".nbp-panel", light, dark),
            themed(".nbp-panel .nbp-light", "visibility:visible", "visibility:hidden"),
            themed(".nbp-panel .nbp-dark", "visibility:hidden", "visibility:visible"),
            themed(".nbp-panel", "color-scheme:light", "color-scheme:dark"),
            _SHEET,
            states,
            code,
        )
    )


def hide_static(uid: str) -> str:
    """Hides the static picture of a panel. It goes away with the live panel that carries it."""
    return f".nbp-static-{uid},.jp-OutputArea-child:has(>* .nbp-static-{uid}){{display:none}}"
