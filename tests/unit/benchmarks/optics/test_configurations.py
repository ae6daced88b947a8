from benchmarks.optics import configurations
from beyondprop.optics import PhotonicProjection, ideal, lighton_opu


def test_configurations_have_the_parts_that_they_name() -> None:
    plain = ideal()
    for name, way in configurations.CONFIGURATIONS.items():
        if name in configurations.CONTROLS:
            continue
        projection = way(7).projection
        assert isinstance(projection, PhotonicProjection)
        assert (projection.seed, projection.shared) == (7, True)
        if name.startswith("lighton-opu"):
            continue
        parts = "encoder", "scattering", "camera", "retrieval"
        other = [p for p in parts if getattr(projection.device, p) != getattr(plain, p)]
        assert len(other) == (0 if name == "ideal" else 1), name
    assert configurations.CONFIGURATIONS["lighton-opu"](0).projection.device == lighton_opu()
    assert configurations.CONFIGURATIONS["8 bits"](0).projection.device.camera.bits == 8
    for sweep in configurations.SWEEPS.values():
        assert set(sweep.values()) <= set(configurations.CONFIGURATIONS)
    assert (
        configurations.CONFIGURATIONS[configurations.SWEEPS["camera bits"][2]](
            0
        ).projection.device.camera.bits
        == 2
    )
    threshold = configurations.SWEEPS["threshold, one magnitude"][0.5]
    assert configurations.CONFIGURATIONS[threshold](0).projection.device.encoder.threshold == 0.5
