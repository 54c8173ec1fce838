#!/usr/bin/env python3
"""Writes the dashboards as one TypeScript program whose types are Grafana's own (@grafana/schema): the compiler then
says which key or value Grafana does not know.

    tests/deploy/grafana_model.py FOLDER    FOLDER: where npm has put @grafana/schema; the program is FOLDER/model.ts
"""

import json
import pathlib
import sys

DASHBOARDS = pathlib.Path(__file__).resolve().parents[2] / "config/monitoring/grafana/dashboards"
# Options and fields of each kind of panel; a row has none.
KINDS = {"stat": "Stat", "timeseries": "TimeSeries", "table": "Table", "bargauge": "BarGauge"}
HEAD = """import type { Dashboard, DataQuery, Panel, RowPanel, GraphFieldConfig } from "@grafana/schema";
{imports}
// JSON holds the words of an enumeration, not its names.
type Plain<T> = T extends string ? `${{T}}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? {{ [K in keyof T]: Plain<T[K]> }} : T;
// What the data source of Prometheus adds is not in the package.
type Query = DataQuery & {{
  expr: string; legendFormat?: string; instant?: boolean; range?: boolean; format?: "table" | "time_series";
  editorMode?: "code" | "builder";
}};
"""


def main():
    """One constant per page and per panel."""
    folder = pathlib.Path(sys.argv[1])
    raw = "./node_modules/@grafana/schema/dist/types/raw/composable"
    imports = "\n".join(
        f'import type {{ Options as {name}Options }} from "{raw}/{kind}/panelcfg/x/types.gen";'
        for kind, name in KINDS.items()
    )
    lines = [HEAD.replace("{imports}", imports).replace("{{", "{").replace("}}", "}")]
    count = 0
    for path in sorted(DASHBOARDS.glob("*.json")):
        page = json.loads(path.read_text())
        for panel in page.pop("panels"):
            count += 1
            targets = panel.pop("targets", [])
            kind = "RowPanel" if panel["type"] == "row" else f"Panel<{KINDS[panel['type']]}Options, GraphFieldConfig>"
            lines.append(f"export const panel{count}: Plain<{kind}> = {json.dumps(panel)};")
            lines.append(f"export const queries{count}: Plain<Query>[] = {json.dumps(targets)};")
        marks = page["annotations"]["list"]
        for mark in marks:
            # The data source's own, like the query.
            mark.pop("titleFormat")
        queries = json.dumps([mark.pop("target") for mark in marks])
        lines.append(f"export const marks_{path.stem}: Plain<Query>[] = {queries};")
        lines.append(f"export const page_{path.stem}: Plain<Dashboard> = {json.dumps(page)};")
    (folder / "model.ts").write_text("\n".join(lines) + "\n")
    print(f"{count} panels")


if __name__ == "__main__":
    main()
