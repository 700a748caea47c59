"""What keeps strokes on things: the flow, the noise that moves, blending, cuts."""

import numpy as np
import pytest
import torch
from films import picture, tiny_engine
from numpy.typing import NDArray

from stylecore.inference.engine import Engine
from stylecore.johnson.transform_net import add_noise, unit_noise
from stylecore.video.calm import LARGEST_BLEND, CalmPainter, FilmNoise, MovingNoise, blended, is_cut
from stylecore.video.flow import Motion, MotionMeter, carry, trust_in
from stylecore.video.frames import to_tensor


def textured(seed: int = 0, side: int = 96) -> NDArray[np.uint8]:
    noise = unit_noise(side, side, seed)[0, 0].numpy()
    return np.repeat((128 + 50 * noise).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def shift(x: float, y: float, height: int = 32, width: int = 40) -> Motion:
    back = np.tile(np.array([x, y], np.float32), (height, width, 1))
    return Motion(back, np.ones((height, width), np.float32))


def test_values_are_carried_along_the_flow() -> None:
    values = np.arange(32 * 40, dtype=np.float32).reshape(32, 40)
    carried = carry(values, shift(-3, 2).back)
    assert np.array_equal(carried[:30, 3:], values[2:, :-3])


def test_the_flow_of_a_pan_is_found() -> None:
    frame, meter = textured(), MotionMeter()
    assert meter.measure(frame[:, :80]) is None
    motion = meter.measure(frame[2:, 5:85].copy())  # another size
    assert motion is None
    motion = meter.measure(np.ascontiguousarray(frame[2:, 8:88]))
    assert motion is not None
    inner = motion.back[16:-16, 16:-16]
    assert np.abs(inner - [3, 0]).max() < 0.5
    assert motion.trusted > 0.8


def test_a_cut_is_not_trusted_and_a_still_frame_wholly() -> None:
    meter = MotionMeter()
    meter.measure(textured(0))
    cut, still = meter.measure(textured(1)), meter.measure(textured(1))
    assert cut is not None
    assert still is not None
    assert cut.trusted < 0.35
    assert still.trusted == pytest.approx(1)


def test_what_is_hidden_is_not_trusted() -> None:
    back, forth = np.zeros((20, 20, 2), np.float32), np.zeros((20, 20, 2), np.float32)
    forth[:, 10:] = 5  # the thing there has gone elsewhere
    gray = np.full((20, 20), 100, np.uint8)
    trust = trust_in(back, forth, gray, gray)
    assert (trust[:, :10] == 1).all()
    assert (trust[:, 10:] == 0).all()
    back[...] = [-30, 0]  # from beyond the frame
    assert not trust_in(back, -back, gray, gray).any()
    still = np.zeros_like(back)
    assert trust_in(still, still, gray, gray + 20)[0, 0] == pytest.approx(0.5)


def test_a_motion_has_the_scale_of_its_frames() -> None:
    larger = shift(1, 2).resized(64, 120)
    assert np.allclose(larger.back, [3, 4])
    assert larger.trust.shape == (64, 120)


def test_noise_moves_by_the_flow_and_comes_back() -> None:
    noise = MovingNoise(32, 40)
    still = unit_noise(32, 40)
    assert torch.equal(noise.noise(), still)
    noise.move(shift(-3, 2))  # each thing was 3 to the left and 2 below
    assert torch.allclose(noise.noise()[..., :30, 3:], still[..., 2:, :-3], atol=1e-5)
    noise.move(shift(3, -2))
    assert torch.allclose(noise.noise(), still, atol=1e-5)
    noise.move(shift(0.5, 0))
    assert noise.noise().std() == pytest.approx(float(still.std()), rel=0.15)
    noise.begin_anew()
    assert torch.equal(noise.noise(), still)


def test_noise_that_enters_a_pan_continues_and_is_not_one_column_again_and_again() -> None:
    noise = MovingNoise(32, 40)
    for _ in range(10):
        noise.move(shift(1, 0))
    entered = noise.noise()[0, 0, :, 30:].numpy()
    assert np.abs(np.diff(entered, axis=1)).mean() > 0.2


def test_noise_follows_a_motion_that_was_measured_on_smaller_frames() -> None:
    noise, whole = MovingNoise(32, 40), MovingNoise(32, 40)
    noise.move(shift(2, -1, 16, 20))
    whole.move(shift(4, -2))
    assert torch.allclose(noise.noise(), whole.noise(), atol=1e-5)


def test_noise_repeats_however_long_a_camera_pans() -> None:
    noise = MovingNoise(32, 40)
    noise.move(shift(40 * 1000 + 3, -32 * 1000 + 2))  # beyond the 16 bits of OpenCV's places
    near = MovingNoise(32, 40)
    near.move(shift(3, 2))
    assert torch.allclose(noise.noise(), near.noise(), atol=1e-2)


def test_noise_that_is_stretched_too_far_begins_anew() -> None:
    noise = MovingNoise(32, 40)
    rows, columns = np.mgrid[:32, :40].astype(np.float32)
    center = np.stack([columns - 20, rows - 16], -1)
    zoom = Motion((-0.1 * center).astype(np.float32), np.ones((32, 40), np.float32))
    reset = []
    for _ in range(8):
        noise.move(zoom)
        reset.append(noise.shift is None)
    assert reset.index(True) == 3  # the area is stretched by 1 / 0.81 a frame: 2.3 after four


def test_blending_exactly() -> None:
    painted, before = np.full((32, 40, 3), 0.2, np.float32), np.full((32, 40, 3), 0.8, np.float32)
    motion = shift(1, 1)
    motion.trust[:, :20] = 0.5
    motion.trust[0] = 0
    result = blended(painted, before, motion, 0.5)
    assert np.allclose(result[0], 0.2)
    assert np.allclose(result[1:, :20], 0.2 + 0.25 * 0.6)
    assert np.allclose(result[1:, 20:], 0.5)


def test_without_calm_each_frame_is_painted_by_itself() -> None:
    engine = tiny_engine(noise=0.1)
    painter = CalmPainter(engine, 0)
    for number in range(3):
        assert torch.equal(painter.paint(picture(number), None), engine.paint(to_tensor(picture(number))))


def test_a_frame_is_blended_with_the_result_before_it_but_not_beyond_a_cut() -> None:
    engine = tiny_engine()
    painter = CalmPainter(engine, 0.5 / LARGEST_BLEND)
    alone = [engine.paint(to_tensor(picture(number))) for number in range(3)]
    still, cut = shift(0, 0, 48, 64), shift(0, 0, 48, 64)
    cut.trust[...] = 0.2
    assert torch.equal(painter.paint(picture(0), None), alone[0])
    assert torch.allclose(painter.paint(picture(1), still), (alone[0] + alone[1]) / 2, atol=1e-6)
    assert torch.equal(painter.paint(picture(2), cut), alone[2])
    assert is_cut(cut)
    assert not is_cut(still)


def test_the_noise_of_a_film_moves_in_the_painting() -> None:
    engine = tiny_engine(noise=0.1)
    noise = FilmNoise(engine, calm=0.5)
    assert torch.equal(noise.next(picture(0), None), unit_noise(48, 64))
    moved = MovingNoise(48, 64)
    moved.move(shift(4, 0, 48, 64))
    assert torch.equal(noise.next(picture(1), shift(4, 0, 48, 64)), moved.noise())
    frame = to_tensor(picture(1))
    assert not torch.equal(engine.paint(frame, noise=moved.noise()), engine.paint(frame))


def test_an_engine_takes_the_noise_that_it_is_given() -> None:
    engine: Engine = tiny_engine(noise=0.1)
    photo = torch.rand(3, 16, 24)
    assert torch.equal(engine.paint(photo), engine.paint(photo, noise=unit_noise(16, 24)))
    assert torch.allclose(add_noise(photo[None], 0.1), photo + 0.1 * unit_noise(16, 24))
