"""Cameras, scenes, meshes, photos, and the tasks of view synthesis made of them."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Split, Views, find, psnr
from beyondprop.tasks.views import from_mesh, from_transforms, task
from beyondprop.tasks.views.cameras import (
    Camera,
    distorted,
    half_sphere,
    looking_at_centre,
    undistorted,
)
from beyondprop.tasks.views.meshes import first_hits, read_obj
from beyondprop.tasks.views.scenes import LIGHT, SCENE, Box, Checks, Sphere, colours
from beyondprop.tasks.views.transforms import Transforms, parts, read_photo, shrunk

RED = Checks((1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
TINY = {"depth": 2, "width": 8, "coarse": 4, "fine": 4}


def several(*rays: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Return rays of these origins and directions, ``(rays, 6)``."""
    origins, directions = torch.tensor(rays, dtype=torch.float64).unbind(1)
    return torch.cat([origins, directions / directions.norm(dim=1, keepdim=True)], 1)


# Views


def test_views_are_rays_in_the_order_of_the_pixels() -> None:
    pictures = torch.rand(3, 2, 5, 3)
    rays = torch.rand(3, 10, 6)
    views = Views.of(list(rays), list(pictures))
    assert (views.count, views.height, views.width, len(views)) == (3, 2, 5, 30)
    inputs, targets = views.batch(slice(10, 20))
    assert torch.equal(inputs, rays[1])
    assert torch.equal(targets.view(2, 5, 3), pictures[1])
    assert isinstance(views.some(torch.tensor([0, 3])), Split)
    assert views.to("cpu").count == 3
    with pytest.raises(UserError, match="30 rays do not form complete views of 4 x 4 pixels"):
        Views(views.rays, 4, 4)


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    x = torch.zeros(4, 3)
    assert psnr(x + 0.1, x) == pytest.approx(20, abs=1e-5)
    assert psnr(x, x) == 100
    with pytest.raises(UserError, match="one shape"):
        psnr(x, x[:, 0])


# Cameras


def test_the_ray_through_the_middle_is_the_axis_and_those_at_the_edge_see_the_angle() -> None:
    camera = Camera.simple(3, 3, 2 * math.atan(1.0))  # the focal length is 1.5 pixels
    rays = camera.rays(torch.eye(4)).view(3, 3, 6)
    assert rays[1, 1].tolist() == pytest.approx([0, 0, 0, 0, 0, -1])
    across = rays[1, 2, 3:] / -rays[1, 2, 5]
    assert across.tolist() == pytest.approx([2 / 3, 0, -1])  # a pixel to the right
    upper = rays[0, 1, 3:] / -rays[0, 1, 5]
    assert upper.tolist() == pytest.approx([0, 2 / 3, -1])  # the first row is at the top
    assert rays[..., 3:].norm(dim=-1).flatten().tolist() == pytest.approx([1] * 9)


def test_a_pose_turns_and_moves_the_rays() -> None:
    pose = looking_at_centre(torch.tensor([3.0, 0.0, 0.0]))
    rays = Camera.simple(1, 1, 1.0).rays(pose)
    assert rays[0].tolist() == pytest.approx([3, 0, 0, -1, 0, 0])
    assert pose[:3, 1].tolist() == pytest.approx([0, 0, 1])  # up
    assert torch.linalg.det(pose[:3, :3]).item() == pytest.approx(1)


def test_cameras_on_a_half_sphere_look_at_its_centre() -> None:
    poses = half_sphere(7, 4.0)
    for pose in poses:
        assert pose[:3, 3].norm().item() == pytest.approx(4)
        assert (pose[:3, 3] + 4 * -pose[:3, 2]).tolist() == pytest.approx([0, 0, 0])
        assert pose[2, 3] > 0
    assert len({tuple(pose[:3, 3].tolist()) for pose in poses}) == 7


def test_distortion_is_undone() -> None:
    lens = (-0.08, 0.03, 0.002, -0.001)
    x, y = torch.meshgrid(*[torch.linspace(-0.6, 0.6, 9).double()] * 2, indexing="xy")
    there = distorted(x, y, lens)
    for back, own in zip(undistorted(*there, lens), (x, y), strict=True):
        assert torch.allclose(back, own, atol=1e-9)
    with pytest.raises(UserError, match="undistort the photos first"):
        undistorted(3 * x, 3 * y, (-0.9, 0.0, 0.0, 0.0))


def test_a_smaller_picture_has_the_rays_between() -> None:
    camera, pose = Camera.simple(4, 6, 0.8), torch.eye(4)
    large = camera.rays(pose).view(4, 6, 6)[..., 3:]
    small = camera.shrunk(2).rays(pose).view(2, 3, 6)[..., 3:]
    large = large / -large[..., 2:]
    between = large.view(2, 2, 3, 2, 3).mean((1, 3))
    assert torch.allclose(small / -small[..., 2:], between)


# Scenes


def test_a_sphere_is_met_where_it_is_and_shaded_by_its_normal() -> None:
    sphere = Sphere((0.0, 0.0, 0.0), 1.0, RED)
    rays = several(((3, 0, 0), (-1, 0, 0)), ((3, 2, 0), (-1, 0, 0)), ((3, 0, 0), (1, 0, 0)))
    found = sphere.surface(*rays.split(3, dim=1))
    assert found.depths.tolist() == [2, math.inf, math.inf]
    assert found.normals[0].tolist() == [1, 0, 0]
    facing = LIGHT[0] / math.hypot(*LIGHT)
    assert colours([sphere], rays)[0].tolist() == pytest.approx([0.35 + 0.65 * facing, 0, 0])
    assert colours([sphere], rays)[1:].tolist() == [[1, 1, 1]] * 2


def test_a_box_is_met_at_the_face_that_is_nearest() -> None:
    box = Box((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), RED)
    rays = several(((0.5, 0, 4), (0, 0, -1)), ((0.5, 3, 4), (0, 0, -1)), ((5, 0, 0), (-1, 0.1, 0)))
    found = box.surface(*rays.split(3, dim=1))
    assert found.depths[:2].tolist() == [3, math.inf]
    assert found.normals[0].tolist() == [0, 0, 1]
    assert found.normals[2].tolist() == [1, 0, 0]
    assert found.depths[2].item() == pytest.approx(4 * math.sqrt(1.01))


def test_what_is_in_front_hides_what_is_behind() -> None:
    green = Checks((0.0, 1.0, 0.0), (0.0, 1.0, 0.0))
    scene = [Sphere((0.0, 0.0, 0.0), 1.0, green), Sphere((2.0, 0.0, 0.0), 0.5, RED)]
    front, back = colours(scene, several(((5, 0, 0), (-1, 0, 0)), ((-5, 0, 0), (1, 0, 0))))
    assert front[0] > 0
    assert front[1] == 0
    assert back[1] > 0
    assert back[0] == 0


def test_checks_alternate() -> None:
    checks = Checks((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), side=1.0)
    line = torch.tensor([[0.2 + i, 0.2, 0.2] for i in range(4)])
    assert checks.at(line)[:, 0].tolist() == [1, 0, 1, 0]


def test_the_scene_lies_between_near_and_far_and_in_no_cameras_way() -> None:
    data = task.load_scene()
    assert [part.count for part in data.parts.values()] == [24, 2, 8]
    rays, seen = data.train.batch(slice(len(data.train)))
    origins, directions = rays.double().split(3, dim=1)
    depths = torch.stack([s.surface(origins, directions).depths for s in SCENE]).amin(0)
    met = depths[depths.isfinite()]
    assert task.NEAR < met.min() < met.max() < task.FAR
    assert 0.2 < len(met) / len(rays) < 0.8
    assert ((seen >= 0) & (seen <= 1)).all()
    assert len(seen.unique(dim=0)) > 1000  # checks, shades


# Meshes


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


PYRAMID = """# a pyramid
v -1 -1 0 1 0 0
v 1 -1 0 0 1 0
v 1 1 0 0 0 1
v -1 1 0
v 0 0 1 1 1 1
vn 0 0 1
f 4/1/1 3/1/1 2/1/1 1/1/1
f 1 2 5
f 2//1 3//1 5//1
f -3 -2 -1
f 4 1 5
"""


def test_a_mesh_is_read_and_cut_into_triangles(tmp_path: Path) -> None:
    mesh = read_obj(written(tmp_path / "p.obj", PYRAMID))
    assert mesh.vertices.shape == (5, 3)
    assert mesh.faces.tolist() == [[3, 2, 1], [3, 1, 0], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
    assert mesh.colours[:2].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert mesh.colours[3].tolist() == pytest.approx([0.7] * 3)
    fitted = mesh.fitted(1.5)
    assert fitted.vertices.norm(dim=1).max().item() == pytest.approx(1.5)


def test_rays_meet_triangles_as_one_solves_for_it() -> None:
    generator = torch.Generator().manual_seed(0)
    triangles = torch.randn(6, 3, 3, generator=generator, dtype=torch.float64)
    origins, directions = torch.randn(2, 80, 3, generator=generator, dtype=torch.float64)
    depths, faces, shares = first_hits(origins, directions, triangles)
    for i in range(80):
        best = math.inf
        for number, (a, b, c) in enumerate(triangles):
            matrix = torch.stack([-directions[i], b - a, c - a], 1)
            t, u, v = torch.linalg.solve(matrix, origins[i] - a).tolist()
            if t > 0 and u >= 0 and v >= 0 and u + v <= 1 and t < best:
                best, hit = t, (number, [1 - u - v, u, v])
        assert depths[i].item() == pytest.approx(best)
        if best < math.inf:
            assert faces[i] == hit[0]
            assert shares[i].tolist() == pytest.approx(hit[1])
    assert depths.isfinite().any()


def test_a_mesh_is_seen_in_its_colours_from_both_sides(tmp_path: Path) -> None:
    flat = "v -1 -1 0 1 0 0\nv 1 -1 0 0 1 0\nv 0 1 0 0 0 1\nf 1 2 3\n"
    mesh = read_obj(written(tmp_path / "flat.obj", flat))
    down, up = (0, 0, -1), (0, 0, 1)
    rays = several(((0, -0.99, 2), down), ((0, -0.99, -2), up), ((3, 0, 2), down))
    above, below, beside = mesh.seen(rays)
    assert above[0].item() == pytest.approx(above[1].item())
    assert 0 < below[0] < above[0]  # away from the light
    assert beside.tolist() == [1, 1, 1]


def test_a_mesh_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    def fails(message: str, text: str) -> None:
        with pytest.raises(UserError, match=message) as error:
            from_mesh(written(tmp_path / "bad.obj", text))
        assert "\n" not in str(error.value)

    fails("holds no faces", "v 0 0 0\n")
    fails("line 2 is 'f 1 2 3'", "v 0 0 0\nf 1 2 3\n")
    fails("line 1 is 'v 0 x 0'", "v 0 x 0\n")
    for wrong in ("nan", "inf", "1e200"):
        fails(f"line 1 is 'v {wrong} 0 0'", f"v {wrong} 0 0\n")
    for wrong in ({"size": -1}, {"size": 2.5}, {"network": {"dept": 2}}, {"network": [3]}):
        with pytest.raises(UserError, match=r"must be a whole number|network of views takes"):
            from_mesh(written(tmp_path / "p.obj", PYRAMID), **wrong)
    fails("faces without area", "v 1 1 1\n" * 3 + "f 1 2 3\n")
    fails("divide them by 255", "v 0 0 0 200 3 3\nv 1 0 0 0 0 0\nv 0 1 0 0 0 0\nf 1 2 3\n")
    many = "v 0 0 0\nv 1 0 0\nv 0 1 0\n" + "f 1 2 3\n" * 20_001
    fails("20,001 triangles, more than 20,000", many)
    with pytest.raises(UserError, match="cannot be read"):
        from_mesh(tmp_path / "nowhere.obj")


def test_a_task_of_a_mesh_travels_and_trains(tmp_path: Path) -> None:
    path = written(tmp_path / "pyramid.obj", PYRAMID)
    made = from_mesh(path, size=6, network=TINY, epochs=1)
    sent = pickle.loads(pickle.dumps(made))
    assert sent.name == "pyramid"
    assert "6 x 6 pixels" in sent.summary
    record = train(RunSpec(rule="dfa", measures=("alignment",)), tmp_path / "run", task=sent)
    assert record["status"] == "finished"
    assert record["task"]["train"] == 24 * 36
    assert record["task"]["metric"] == "PSNR (dB)"
    frozen = train(RunSpec(rule="frozen", measures=()), tmp_path / "frozen", task=sent)
    assert "trained by steps" in frozen["head"]
    assert "are not those of a single nn.Linear" in frozen["head"]


# Photos


def saved(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def photos(folder: Path, name: str, count: int, named: str = "{part}/{i}", **top: Any) -> Path:
    """Write photos of 4 x 6 pixels and a file that lists them."""
    frames = []
    for i, pose in enumerate(half_sphere(count, 4.0)):
        file = named.format(part=name, i=i)
        pixels = np.full((4, 6, 4), 255)
        pixels[..., :3] = i
        saved(folder / (file if file.endswith(".png") else f"{file}.png"), pixels)
        frames.append({"file_path": file, "transform_matrix": pose.tolist()})
    folder.mkdir(exist_ok=True)
    (folder / name).with_suffix(".json").write_text(json.dumps({**top, "frames": frames}))
    return folder


ANGLE = {"camera_angle_x": 0.7}


def test_parts_that_have_files_are_those(tmp_path: Path) -> None:
    for part, count in (("transforms_train", 5), ("transforms_val", 2), ("transforms_test", 3)):
        photos(tmp_path, part, count, **ANGLE)
    data = from_transforms(tmp_path).load(None)
    assert [part.count for part in data.parts.values()] == [5, 2, 3]
    rays, seen = data.train.batch(slice(24, 48))
    wanted = Camera.simple(4, 6, 0.7).rays(half_sphere(5, 4.0)[1])
    assert torch.allclose(rays, wanted.float())
    assert seen.unique().tolist() == pytest.approx([1 / 255])
    few = Transforms(tmp_path, views=2)(None)
    assert [part.count for part in few.parts.values()] == [2, 2, 2]


def test_every_eighth_of_one_file_is_for_the_test(tmp_path: Path) -> None:
    photos(tmp_path, "transforms", 20, named="images/{i}.png", **ANGLE)
    found = parts(tmp_path)
    numbers = {name: [int(Path(f["file_path"]).stem) for f in each] for name, each in found.items()}
    assert numbers["test"] == [0, 8, 16]
    assert numbers["validation"] == [4, 12]
    assert numbers["train"] == [i for i in range(20) if i % 4]
    assert len(from_transforms(tmp_path).load(None).train) == 15 * 24


def test_the_camera_may_be_said_in_pixels_and_of_larger_photos(tmp_path: Path) -> None:
    pixels = {"fl_x": 10.0, "fl_y": 12.0, "cx": 5.5, "cy": 4.5, "w": 12, "h": 8}
    photos(tmp_path, "transforms", 8, **pixels)
    rays, _ = Transforms(tmp_path)(None).test.batch(slice(24))
    wanted = Camera(4, 6, (5.0, 6.0), (2.75, 2.25)).rays(half_sphere(8, 4.0)[0])
    assert torch.allclose(rays, wanted.float())
    lens = {"k1": 0.1, "k2": -0.02, "p1": 0.01, "p2": 0.005}
    photos(tmp_path, "transforms", 8, **pixels | lens)
    bent, _ = Transforms(tmp_path)(None).test.batch(slice(24))
    assert not torch.allclose(bent, rays, atol=1e-3)


def test_photos_are_put_over_white_and_made_smaller(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5, 4))
    pixels[:2, :2] = (200, 100, 0, 255)
    saved(tmp_path / "a.png", pixels)
    found = shrunk(read_photo(tmp_path / "a.png"), 2, tmp_path)
    assert found.shape == (2, 2, 3)
    assert found[0, 0].tolist() == pytest.approx([200 / 255, 100 / 255, 0])
    assert found[1, 1].tolist() == [1, 1, 1]
    photos(tmp_path, "transforms", 8, **ANGLE)
    rays, _ = Transforms(tmp_path, shrink=2)(None).test.batch(slice(6))
    wanted = Camera.simple(4, 6, 0.7).shrunk(2).rays(half_sphere(8, 4.0)[0])
    assert torch.allclose(rays, wanted.float())


def test_photos_that_cannot_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    def fails(message: str, **settings: Any) -> None:
        with pytest.raises(UserError, match=message) as error:
            from_transforms(tmp_path, **settings).load(None)
        assert "\n" not in str(error.value)

    def changed(**frame: Any) -> None:
        content = json.loads((tmp_path / "transforms.json").read_text())
        content["frames"][0] |= frame
        (tmp_path / "transforms.json").write_text(json.dumps(content))

    fails("holds no transforms_train.json or transforms.json")
    written(tmp_path / "transforms.json", "[]")
    fails("needs 'frames', a list of mappings")
    photos(tmp_path, "transforms", 3, **ANGLE)
    fails("has 3 frames, too few")
    photos(tmp_path, "transforms", 8)
    fails("lacks 'camera_angle_x'")
    photos(tmp_path, "transforms", 8, camera_model="OPENCV_FISHEYE", **ANGLE)
    fails("OPENCV_FISHEYE are not supported: undistort the photos first")
    photos(tmp_path, "transforms", 8, k1=0.1, k3=0.5, **ANGLE)
    fails("the lens has k3, which are not supported")
    for angle in (40, 0, -1):
        photos(tmp_path, "transforms", 8, camera_angle_x=angle)
        fails("camera_angle_x is in radians")
    photos(tmp_path, "transforms", 8, fl_x=-17)
    fails("focal lengths must be above 0")
    photos(tmp_path, "transforms", 8, w=10, h=400, **ANGLE)
    fails("are they swapped")
    photos(tmp_path, "transforms", 8, **ANGLE)
    shifted = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1]]
    changed(transform_matrix=shifted)
    fails("is it transposed")
    changed(transform_matrix=[[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    fails("must be at right angles")
    photos(tmp_path, "transforms", 8, **ANGLE)
    fails("fewer than 5 pixels", shrink=5)
    fails("shrink must be a whole number of at least 1", shrink=0)
    changed(transform_matrix=[[1, 0], [0, 1]])
    fails("not a matrix of 4 x 4")
    changed(file_path="gone")
    fails("gone, which transforms.json names, does not exist")
    written(tmp_path / "gone.png", "no image")
    fails("is not a readable image")
    photos(tmp_path / "b", "transforms", 16, **ANGLE)
    saved(tmp_path / "b/transforms/8.png", np.zeros((3, 3, 3)))
    with pytest.raises(UserError, match="has 3 x 3 pixels, others 6 x 4"):
        from_transforms(tmp_path / "b").load(None)


def test_tasks_of_files_are_found_by_a_spec(tmp_path: Path) -> None:
    photos(tmp_path, "transforms", 8, **ANGLE)
    made = find(
        {
            "task": "beyondprop.tasks.views:from_transforms",
            "path": str(tmp_path),
            "near": 1.0,
            "network": {"depth": 8, "width": 16},
            "epochs": 2,
        }
    )
    model = made.model()
    assert (len(model.trunk), model.near, made.epochs) == (8, 1.0, 2)
    assert model.trunk[5][0].in_features == 16 + 63  # behind the skip
    with pytest.raises(UserError, match="a task has no epoch;"):
        from_transforms(tmp_path, epoch=2)
