"""Walking the tape backwards: from outputs to leaves, each node once, in reverse order of time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any
from weakref import ref

from fanal.autograd.mode import mode
from fanal.autograd.tape import Node, anomaly
from fanal.core.dispatch import recorder
from fanal.core.errors import message


class _Recording:
    """Recording on or off for the length of a backward pass."""

    def __init__(self, enabled: bool, listening: Any):
        self.enabled, self.listening = enabled, listening

    def __enter__(self) -> None:
        self.before = mode.enabled
        mode.enabled = self.enabled

    def __exit__(self, *exc: object) -> None:
        mode.enabled = self.before
        if self.listening is not None:
            self.listening.pulling_node(None)


def run_backward(
    roots: Sequence[tuple[Any, Any]],
    retain_graph: bool,
    create_graph: bool,
    wanted: Sequence[Any] | None = None,
) -> dict[int, Any]:
    """Send gradients from the roots, given as (tensor, gradient).

    Without `wanted`, leaves accumulate into `.grad`. With it, the gradients of those tensors are
    returned (by their position) and nothing is accumulated.
    """
    targets = _targets(wanted)
    found: dict[int, Any] = {}
    pending: dict[Node, list[Any]] = {}
    queue: list[tuple[int, Node]] = []  # sequence numbers are unique, so nodes never compare
    leaves: dict[int, tuple[Any, Any]] = {}
    # Storages that several gradients may share: a leaf must not take one of them as its own. They are
    # looked up by number, which another storage may have once the first one is gone.
    shared: dict[int, ref[Any]] = {}
    listening = recorder()

    def send(edge: Any, grad: Any) -> None:
        if edge is None:
            return
        if type(edge) is tuple:
            node, number = edge
            grads = pending.get(node)
            if grads is None:
                grads = pending[node] = [None] * node.outputs
                heapq.heappush(queue, (-node.sequence, node))
            before = grads[number]
            grads[number] = grad if before is None else before + grad
        else:
            # Contributions to a leaf are summed first, so that its hooks see the whole gradient.
            before_leaf = leaves.get(id(edge))
            total = grad if before_leaf is None else before_leaf[1] + grad
            leaves[id(edge)] = (edge, total)

    with _Recording(create_graph, listening):
        for tensor, grad in roots:
            shared[id(grad._storage)] = ref(grad._storage)
            send(edge_of(tensor), grad)
        needed = _needed_nodes([n for _, n in queue], targets) if wanted is not None else None
        while queue:
            node = heapq.heappop(queue)[1]
            grads = pending.pop(node)
            if targets or node.extras is not None:
                _hooks_before(node, grads, targets, found)
            if needed is not None and node not in needed:
                continue
            if listening is not None:
                listening.pulling_node(node)
            results = _pull(node, grads, create_graph)
            if node.extras is not None and node.extras.hooks:
                for hook in list(node.extras.hooks):
                    replaced = hook(tuple(results), tuple(grads))
                    results = results if replaced is None else replaced
            if not retain_graph:
                node.release()
            for edge, grad in zip(node.edges, results, strict=True):
                if edge is None or grad is None:
                    continue
                for g in grads:
                    if g is not None and g._storage is grad._storage:
                        shared[id(grad._storage)] = ref(grad._storage)
                send(edge, grad)
        if listening is not None:
            listening.pulling_node(None)
        for leaf, grad in leaves.values():
            other = shared.get(id(grad._storage))
            own = other is None or other() is not grad._storage
            _deliver(leaf, grad, targets, found, create_graph, own)
    return found


def _pull(node: Node, grads: list[Any], create_graph: bool) -> Sequence[Any]:
    if not anomaly["enabled"]:
        return node.pull(grads, create_graph)
    try:
        results = node.pull(grads, create_graph)
    except Exception as error:
        if node.extra().trace:
            error.add_note("The forward call was:\n" + "".join(node.extra().trace or []))
        raise
    if anomaly["check_nan"]:
        for number, grad in enumerate(results):
            if grad is not None and grad.is_floating_point() and bool((grad != grad).any()):
                where = "".join(node.extra().trace or ["(recorded before anomaly mode)"])
                raise RuntimeError(
                    message("backward", f"{node.name} returned NaN in gradient {number}")
                    + f"\nThe forward call was:\n{where}"
                )
    return results


def edge_of(tensor: Any) -> Any:
    """Where a tensor's gradient goes."""
    node = tensor._current_node()
    if node is not None:
        return (node, tensor._index)
    return tensor if tensor.requires_grad else None


def _targets(wanted: Sequence[Any] | None) -> dict[Any, list[int]]:
    """Positions of the wanted tensors: by (node, output) or by leaf identity."""
    targets: dict[Any, list[int]] = {}
    for position, tensor in enumerate(wanted or ()):
        edge = edge_of(tensor)
        key = edge if isinstance(edge, tuple) else id(tensor)
        targets.setdefault(key, []).append(position)
    return targets


def _needed_nodes(roots: list[Node], targets: dict[Any, list[int]]) -> set[Node]:
    """Nodes from which a target can be reached (others need not run)."""
    leaf_ids = {k for k in targets if isinstance(k, int)}
    nodes = {k[0] for k in targets if isinstance(k, tuple)}
    order: list[Node] = []
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        stack += [e[0] for e in node.edges if isinstance(e, tuple)]
    needed: set[Node] = set()
    for node in sorted(order, key=lambda n: n.sequence):
        for edge in node.edges:
            if isinstance(edge, tuple):
                if edge[0] in needed or edge[0] in nodes:
                    needed.add(node)
            elif edge is not None and id(edge) in leaf_ids:
                needed.add(node)
    return needed


def _hooks_before(
    node: Node, grads: list[Any], targets: dict[Any, list[int]], found: dict[int, Any]
) -> None:
    """Tensor hooks, retained gradients and wanted gradients of a node's outputs."""
    extras = node.extras
    if extras is not None and extras.pre_hooks:
        for number, hooks in extras.pre_hooks.items():
            for hook in list(hooks):
                if grads[number] is not None:
                    replaced = hook(grads[number])
                    grads[number] = grads[number] if replaced is None else replaced
    if extras is not None and extras.retained:
        for number, reference in extras.retained.items():
            tensor = reference()
            if tensor is not None and grads[number] is not None:
                before = tensor.grad
                tensor.grad = grads[number] if before is None else before + grads[number]
    if targets:
        for number, grad in enumerate(grads):
            for position in targets.get((node, number), ()):
                found[position] = grad


def _deliver(
    leaf: Any, grad: Any, targets: dict[Any, list[int]], found: dict[int, Any], create_graph: bool,
    own: bool,
) -> None:  # fmt: skip
    for hook in list(leaf._hooks() or ()):
        replaced = hook(grad)
        grad = grad if replaced is None else replaced
    if targets:
        for position in targets.get(id(leaf), ()):
            found[position] = grad
        return
    leaf._accumulate(grad, create_graph, own)
    rare = leaf._rare
    if rare is not None and rare.after_hooks:
        for hook in list(rare.after_hooks):
            hook(leaf)
