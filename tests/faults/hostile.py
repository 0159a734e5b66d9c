"""What renderers are given in the tests: every text of the corpus in every place."""

from __future__ import annotations

from urllib.parse import quote

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Failure, Reason, Task
from nbpipe.core.plan import Plan
from nbpipe.core.progress import Progress
from nbpipe.run.report import BuildReport
from nbpipe.views import plans, progress_html, runs, status, widget_html
from nbpipe.views.diagram import Row, to_html, to_svg
from nbpipe.views.widget_details import Details, Link, PastRun, ProductInfo, about_html, tab_html
from tests.faults import corpus

FAILURE = {
    text: Failure(
        error=text,
        message=text,
        cell=1,
        file=text,
        line=1,
        excerpt=f"> 1 | {text}",
        traceback=text,
        hint=text,
        notebook=text,
    )
    for text in corpus.ALL
}


def hostile_graph() -> Graph:
    """A chain of tasks whose names are attacks."""
    tasks = {
        text: Task(name=text, source=text, product={text: text}, params={text: text}, group=text)
        for text in corpus.ALL
    }
    upstream = {text: corpus.ALL[max(i - 1, 0) : i] for i, text in enumerate(corpus.ALL)}
    return Graph(tasks, upstream)


def hostile_plan() -> Plan:
    """Every text as a name, a reason and a value."""
    decisions = {
        text: Decision(
            task=text,
            action="run",
            state="stale",
            reasons=(Reason("param", text, text, text),),
            notes=(Reason("cosmetic", text),),
        )
        for text in corpus.ALL
    }
    return Plan(decisions, dict.fromkeys(corpus.ALL, 1.0))


def hostile_status() -> status.Status:
    rows = tuple(
        status.StatusRow(
            task=text,
            state="failed",
            action="run",
            reason=text,
            last_run=1.0,
            seconds=1.0,
            products=(text,),
            source=text,
            upstream=(text,),
        )
        for text in corpus.ALL
    )
    return status.Status(rows, corpus.ALL[0], 2.0)


def hostile_progress(last: ev.Event | None = None) -> Progress:
    """A run in which every task has failed with a hostile message."""
    found = Progress()
    found.apply(ev.RunStarted(run="r", tasks=corpus.ALL, time=1.0))
    for text in corpus.ALL:
        found.apply(ev.TaskStarted(task=text, time=1.0))
        found.apply(ev.CellStarted(task=text, index=1, total=2))
        found.apply(ev.Warned(task=text, message=text))
        found.apply(ev.TaskFailed(task=text, seconds=1.0, failure=FAILURE[text]))
    return found


def hostile_report() -> BuildReport:
    run = hostile_progress()
    return BuildReport(run="r", state="failed", seconds=1.0, tasks=run.tasks, exit_code=1)


def hostile_running() -> Progress:
    found = Progress()
    found.apply(ev.RunStarted(run="r", tasks=corpus.ALL, time=1.0))
    for text in corpus.ALL:
        found.apply(ev.TaskStarted(task=text, time=1.0))
    return found


def hostile_details(text: str) -> Details:
    # A path is text of the spec, which has no half of a surrogate pair.
    path = text.encode("utf-8", "replace").decode()
    link = Link(text, text, f"/files/{quote(path)}", path)
    product = ProductInfo(text, text, 1, 1.0, True, link)
    return Details(
        task=text,
        state="failed",
        reasons=(text,),
        source=text,
        diff=f"--- {text}\n+{text}\n-{text}\n@@ {text}\n {text}",
        ever=True,
        products=(product,),
        log=text,
        runs=(PastRun(text, 1.0, 1.0, text),),
        links=(link, Link(text, text)),
        now=2.0,
    )


def panel_texts() -> list[str]:
    """All that the panel shows of every text."""
    states, table = hostile_status(), hostile_status().states
    found = [
        widget_html.header_html(corpus.ALL[0], table, hostile_progress(), 2.0),
        widget_html.running_html(hostile_running()),
        widget_html.table_html(states, table, hostile_progress(), 2.0, corpus.ALL[0]),
        widget_html.table_html(states, table, None, 2.0, ""),
        widget_html.static_html("u", states, ""),
    ]
    for text in corpus.ALL:
        details = hostile_details(text)
        found += [widget_html.say_html(text, error=True), about_html(details, "failed")]
        found += [tab_html(details, tab) for tab in ("Source", "Changes", "Products", "Log")]
        found.append(tab_html(details, "Runs"))
    return found


def html_texts() -> dict[str, str]:
    """Every piece of HTML that nbpipe makes, by where it is shown; shared with the browser."""
    graph, names = hostile_graph(), dict.fromkeys(corpus.ALL, "failed")
    notes = {text: text for text in corpus.ALL}
    rows = [Row(text, "failed", text, text) for text in corpus.ALL]
    plan, found = hostile_plan(), hostile_status()
    why = "".join(
        plans.why_html(plans.Explanation(decision, f"--- {name}\n+{name}"))
        for name, decision in plan.decisions.items()
    )
    run = hostile_progress()
    head, cells = status.REPORT_HEAD, status.report_cells(run)
    return {
        "svg": to_svg(graph, names, title=corpus.ALL[0], subtitles=notes),
        "page": to_html(graph, names, rows, title=corpus.ALL[0], subtitles=notes),
        "status": found._repr_mimebundle_()["text/html"],
        "plan": plans.plan_html(plan),
        "why": why,
        "report": hostile_report()._repr_mimebundle_()["text/html"],
        "table": status.html_table(head, cells, corpus.ALL[0]),
        "runs": runs.runs_table([run])[1],
        "task runs": runs.task_runs_table(
            [runs.TaskRun("r", 1.0, task) for task in run.tasks.values()]
        )[1],
        "progress": progress_html.progress_html(hostile_running(), 2.0),
        "panel": "".join(panel_texts()),
    }
