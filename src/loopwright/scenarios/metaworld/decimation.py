"""Fewer triangles for small images: vertex clustering on a compiled model.

Vertices that share a cell of a regular grid become one; triangles that lose a corner vanish.
Detail below half a pixel cannot be seen, so the grid follows from the image side.
"""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

_VIEW_WIDTH_M = 0.9
"""Width of the scene across the image at the distance of the gripper."""


def cell_for_image(image_px: int) -> float:
    """Return the grid cell in metres below which an image of that side shows no detail."""
    return 0.5 * _VIEW_WIDTH_M / image_px


def decimate(model: mujoco.MjModel, cell_m: float) -> None:
    """Thin out every untextured mesh of ``model`` in place.

    Only arrays that drawing reads change, but collision meshes are among them: give it a copy
    that draws, never the model that simulates.

    Args:
        model: A compiled model, before an OpenGL context has read its meshes.
        cell_m: Side of the clustering cell in metres.
    """
    for mesh in range(model.nmesh):
        if model.mesh_texcoordnum[mesh] == 0:
            _decimate_mesh(model, mesh, cell_m)


def _decimate_mesh(model: mujoco.MjModel, mesh: int, cell_m: float) -> None:
    vertices = _rows(model.mesh_vert, model.mesh_vertadr, model.mesh_vertnum, mesh)
    normals = _rows(model.mesh_normal, model.mesh_normaladr, model.mesh_normalnum, mesh)
    faces = _rows(model.mesh_face, model.mesh_faceadr, model.mesh_facenum, mesh)
    corners = _rows(model.mesh_facenormal, model.mesh_faceadr, model.mesh_facenum, mesh)

    cells = np.floor((vertices - vertices.min(axis=0)) / cell_m).astype(np.int64)
    _, cluster = np.unique(cells, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    centres = _mean_per_cluster(vertices, cluster)
    smooth = _mean_per_cluster(_normal_of_vertex(vertices, normals, faces, corners), cluster)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)

    thin = cluster[faces]
    whole = (thin[:, 0] != thin[:, 1]) & (thin[:, 1] != thin[:, 2]) & (thin[:, 2] != thin[:, 0])
    thin = _without_repeats(thin[whole])
    if len(thin) == 0 or len(centres) > len(normals):
        return
    vertices[: len(centres)] = centres
    normals[: len(centres)] = smooth
    faces[: len(thin)] = thin
    corners[: len(thin)] = thin
    model.mesh_vertnum[mesh] = len(centres)
    model.mesh_normalnum[mesh] = len(centres)
    model.mesh_facenum[mesh] = len(thin)


def _rows(values: np.ndarray, first: np.ndarray, count: np.ndarray, mesh: int) -> np.ndarray:
    return values[first[mesh] : first[mesh] + count[mesh]]


def _normal_of_vertex(
    vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, corners: np.ndarray
) -> np.ndarray:
    summed = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(summed, faces[:, corner], normals[corners[:, corner]])
    return summed


def _mean_per_cluster(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    counts = np.bincount(cluster)
    sums = [np.bincount(cluster, weights=values[:, axis]) for axis in range(values.shape[1])]
    return np.stack(sums, axis=1) / counts[:, None]


def _without_repeats(faces: np.ndarray) -> np.ndarray:
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return faces[np.sort(first)]
