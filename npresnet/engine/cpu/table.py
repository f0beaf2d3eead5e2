"""A plan as a table: what each step computes, how, and what it costs."""

from typing import Any

from ...tables import text_lines


def table(plan: Any) -> str:
    """One line for each step of a :class:`~.plan.Plan`, with its share of the time where steps are timed."""
    total, timed = sum(plan.seconds.values()), any(plan.seconds.values())
    header = ["step", "algorithm", "input", "output", "then", "images", "MMAC", "workspace"]
    rows = [header + ["time", "GFLOP/s"] * timed]
    for count, steps in plan.segments:
        for step in steps:
            row = [
                step.node.name,
                step.algorithm,
                _size(step.x),
                _size(step.y),
                _then(step.node),
                str(count),
                f"{step.macs / 1e6:.1f}" if step.macs else "",
                f"{step.work_bytes / 1024:.0f} KiB",
            ]
            rows.append(row + _time(plan, step, total) if timed else row)
    summary = f"{plan.n} image(s); buffers {plan.arena_bytes / 2**20:.1f} MiB"
    return "\n".join([*text_lines(rows), summary + (f"; {total / plan.calls * 1e3:.2f} ms a batch" if timed else "")])


def _size(image) -> str:
    return f"{image.height}x{image.width}x{image.channels}"


def _then(node) -> str:
    parts = ["+ shortcut"] * (len(node.inputs) > 1 and node.kind != "add") + ["relu"] * (node.floor == 0)
    return " ".join(parts + ["pool"] * bool(node.pool))


def _time(plan, step, total):
    seconds = plan.seconds[step.node]
    speed = 2e-9 * step.macs * plan.n * plan.calls / seconds if step.macs and seconds else 0
    return [f"{100 * seconds / total:.1f}%", f"{speed:.0f}" if speed else ""]
