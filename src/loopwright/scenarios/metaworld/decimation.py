"""Fewer triangles for small images: vertex clustering on a compiled model.

Vertices that share a cell of a regular grid become one; triangles that lose a corner vanish.
Detail smaller than a pixel cannot be seen, so the grid follows from the image side.
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
_CELL_PX = 0.75
"""Side of a cell in pixels: two thirds of the triangles go, and hardly a pixel changes."""


def cell_for_image(image_px: int) -> float:
    """Return the side in metres of the clustering cell for an image of that side."""
    return _CELL_PX * _VIEW_WIDTH_M / image_px


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

    cluster = _cluster_of_vertex(vertices, cell_m)
    centres = _mean_per_cluster(vertices, cluster)
    smooth = _mean_per_cluster(_normal_of_vertex(len(vertices), normals, faces, corners), cluster)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)
    thin = _whole_triangles(cluster[faces])
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


def _cluster_of_vertex(vertices: np.ndarray, cell_m: float) -> np.ndarray:
    cells = np.floor((vertices - vertices.min(axis=0)) / cell_m).astype(np.int64)
    _, cluster = np.unique(_one_number(cells), return_inverse=True)
    return cluster.reshape(-1)


def _normal_of_vertex(
    count: int, normals: np.ndarray, faces: np.ndarray, corners: np.ndarray
) -> np.ndarray:
    """Return the sum of the normals that the corners at each vertex have."""
    return _sum_per_group(normals[corners.reshape(-1)], faces.reshape(-1), count)


def _mean_per_cluster(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    counts = np.bincount(cluster)
    return _sum_per_group(values, cluster, len(counts)) / counts[:, None]


def _sum_per_group(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    columns = [np.bincount(group, weights=column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


def _whole_triangles(faces: np.ndarray) -> np.ndarray:
    """Return the triangles whose corners still differ, each once."""
    first, second, third = faces.T
    faces = faces[(first != second) & (second != third) & (third != first)]
    if len(faces) == 0:
        return faces
    _, kept = np.unique(_one_number(np.sort(faces, axis=1).astype(np.int64)), return_index=True)
    return faces[np.sort(kept)]


def _one_number(rows: np.ndarray) -> np.ndarray:
    """Return one integer per row of non-negative integers ``(N, 3)``, equal for equal rows."""
    size = rows.max(axis=0) + 1
    return (rows[:, 0] * size[1] + rows[:, 1]) * size[2] + rows[:, 2]
