"""A plan as a table: what each step computes, how, and what it costs."""


def table(plan) -> str:
    """One line a step; the share of time only where the engine was made with ``profile=True``."""
    total, timed = sum(plan.seconds.values()), any(plan.seconds.values())
    head = ["step", "algorithm", "input", "output", "then", "images", "MMAC", "workspace"]
    rows = [head + ["time", "GFLOP/s"] * timed]
    for count, steps in plan.segments:
        for step in steps:
            row = [step.node.name, step.algorithm, _size(step.x), _size(step.y), _then(step.node), str(count),
                   f"{step.macs / 1e6:.1f}" if step.macs else "", f"{step.work_bytes / 1024:.0f} KiB"]
            rows.append(row + _time(plan, step, total) if timed else row)
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    summary = f"{plan.n} image(s); buffers {plan.arena_bytes / 2**20:.1f} MiB"
    return "\n".join([*lines, summary + (f"; {total / plan.calls * 1e3:.2f} ms a batch" if timed else "")])


def _size(image) -> str:
    return f"{image.height}x{image.width}x{image.channels}"


def _then(node) -> str:
    parts = ["+ shortcut"] * (len(node.inputs) > 1 and node.kind == "conv") + ["relu"] * (node.floor == 0)
    return " ".join(parts + ["pool"] * bool(node.pool))


def _time(plan, step, total):
    seconds = plan.seconds[step.node]
    speed = 2e-9 * step.macs * plan.n * plan.calls / seconds if step.macs and seconds else 0
    return [f"{100 * seconds / total:.1f}%", f"{speed:.0f}" if speed else ""]
