from pathlib import Path


def note(name, text):
    Path("seen").mkdir(exist_ok=True)
    with open(Path("seen", name), "a") as file:
        file.write(f"{text}\n")


def rendered(dag):
    note("rendered.txt", sorted(dag))


def finished(report, word):
    note("finished.txt", f"{list(report['name'])} {word}")


def failed(dag, traceback):
    note("failed.txt", "division" in str(traceback))


def check_params(task, params):
    note("params.txt", f"{task.name} {params['rows']}")
    assert params["rows"] > 0


def check_rows(product, client, limit):
    rows = Path(str(product)).read_text().splitlines()
    note("rows.txt", f"{len(rows)} {client}")
    assert len(rows) > limit, f"only {len(rows)} rows"


def total_failed(task, product):
    note("total.txt", f"{task.name} {Path(str(product['sum'])).name}")
