"""Parameters from an observed motion: what is found, how certain it is said to be, and what is refused."""

import dataclasses
import functools
import json
import math

import numpy as np
import pytest
import torch
from test_cli import cli, complaint, elsewhere  # noqa: F401
from toy import Reach, ReachSettings

from pliant.app.results import RunFolder
from pliant.envs import make_task
from pliant.envs.identify import Observation, Parameter, residuals
from pliant.errors import ModelError, OptionError, ShapeError, StepError, UnknownNameError
from pliant.optim.identify import NOT_IDENTIFIABLE, identify
from pliant.sim.core import Outcome
from pliant.sim.solid import SolidState

TRUTH = {"amplitude": 2.0, "rate": 0.7}
START = {"amplitude": 1.0, "rate": 1.5}


class Sled(Reach):
    """The toy, with parameters to identify."""

    presets = {"small": ReachSettings(), "empty": ReachSettings(mass=0.6)}

    def identifiable(self):
        own = self.settings
        return {
            "mass": Parameter(own.mass, "kg", "of the point"),
            "drag": Parameter(own.drag, "kg/s", "in the air"),
            "stiffness": Parameter(200.0, "N/m^2", "of the walls"),
        }

    def with_parameters(self, values):
        return type(self.solver)(dataclasses.replace(self.solver.model, **values))

    def markers(self, state):
        return state.position[:, None]


# the method, on a decay that is known


def decay(n=50, noise=0.0, seed=0):
    """Residuals of amplitude * exp(-rate t) beside an observation of it."""
    t = torch.linspace(0, 4, n, dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    seen = TRUTH["amplitude"] * torch.exp(-TRUTH["rate"] * t) + noise * torch.randn(n, generator=draw, dtype=torch.float64)
    return lambda p: p[0] * torch.exp(-p[1] * t) - seen


def test_the_parameters_of_a_decay_are_found():
    fit = identify(decay(), START)
    assert np.allclose(fit.found, list(TRUTH.values()), rtol=1e-6)
    assert fit.converged
    assert fit.identified.all()
    assert fit.misfit < 1e-10 * fit.start_misfit


def test_the_uncertainty_is_that_of_the_linear_theory():
    fit = identify(decay(), START, noise=0.01)
    t = np.linspace(0, 4, 50)
    a, b = TRUTH.values()
    jacobian = np.stack([a * np.exp(-b * t), -a * b * t * np.exp(-b * t)], 1)  # in the logarithms
    covariance = 0.01**2 * np.linalg.inv(jacobian.T @ jacobian)
    assert np.allclose(fit.relative, np.sqrt(np.diag(covariance)), rtol=1e-3)
    assert fit.correlation[0, 1] == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-3)


def test_the_uncertainty_is_the_scatter_over_noise_and_the_truth_within_three_of_it():
    fits = [identify(decay(noise=0.02, seed=seed), START) for seed in range(60)]
    found, told = np.array([fit.found for fit in fits]), np.array([fit.deviation for fit in fits])
    scatter = found.std(0, ddof=1)
    assert np.all((scatter < 1.4 * told.mean(0)) & (told.mean(0) < 1.4 * scatter)), (scatter, told.mean(0))
    away = np.abs(found - list(TRUTH.values())) / told
    assert (away < 3).mean() > 0.97
    assert np.mean([fit.noise for fit in fits]) == pytest.approx(0.02, rel=0.1)


def test_a_hundred_times_the_observations_make_a_tenth_of_the_uncertainty():
    few, many = (identify(decay(n), START, noise=0.02) for n in (50, 5000))
    assert np.allclose(few.deviation / many.deviation, 10, rtol=0.05)


def test_what_has_no_effect_is_said_not_to_be_identifiable():
    model = decay(noise=0.01)
    fit = identify(lambda p: model(p[:2]), {**START, "colour": 3.0}, noise=0.01)
    assert fit.notes[:2] == ("", "")
    assert fit.notes[2] == f"{NOT_IDENTIFIABLE}: it has no effect where it was found"
    assert math.isnan(fit.deviation[2])
    assert fit.found[2] == pytest.approx(3.0, rel=1e-12)
    assert np.allclose(fit.deviation[:2], identify(model, START, noise=0.01).deviation, rtol=1e-3)


def test_what_is_seen_only_as_a_product_is_said_not_to_be_identifiable():
    model = decay(noise=0.01)
    fit = identify(lambda p: model(torch.stack([p[0] * p[2], p[1]])), {**START, "gain": 1.0})
    assert fit.found[0] * fit.found[2] == pytest.approx(2.0, rel=0.02)
    assert [bool(note) for note in fit.notes] == [True, False, True]
    assert "only together with gain" in fit.notes[0]
    assert np.isnan(fit.deviation[[0, 2]]).all()


def test_what_leaves_the_range_of_the_search_is_said_not_to_be_identifiable():
    fit = identify(decay(), START, bounds={"rate": (1.0, 2.0)})
    assert fit.found[1] == pytest.approx(1.0, rel=1e-9)
    assert [bool(note) for note in fit.notes] == [False, True]
    assert "range" in fit.notes[1]


def test_what_is_more_uncertain_than_large_is_said_not_to_be_identifiable():
    fit = identify(decay(), START, noise=100.0)
    assert all("more uncertain" in note for note in fit.notes)


@pytest.mark.parametrize("how", ["not finite", "error"])
def test_a_simulation_that_fails_is_a_step_too_far(how):
    model = decay()

    def fragile(p):
        if float(p[1].detach()) < 0.5:
            if how == "error":
                raise StepError("The step did not converge.")
            return model(p) * torch.nan
        return model(p)

    fit = identify(fragile, {"amplitude": 0.3, "rate": 1.5})
    assert 0 < fit.failures < 5
    assert fit.converged
    assert np.allclose(fit.found, list(TRUTH.values()), rtol=1e-5)
    assert fit.identified.all()


def test_a_search_that_failures_hold_up_says_that_it_has_not_converged():
    model = decay()
    fit = identify(lambda p: model(p) * (torch.nan if float(p[1].detach()) < 0.9 else 1.0), {"amplitude": 0.3, "rate": 1.5})
    assert not fit.converged
    assert not fit.identified[1]
    assert fit.misfit < fit.start_misfit
    assert fit.failures < 30


def test_a_simulation_that_fails_beside_the_minimum_leaves_no_uncertainty():
    model = decay()
    fit = identify(lambda p: model(p) * (torch.nan if float(p[1].detach()) < 0.699 else 1.0), {"amplitude": 1.9, "rate": 0.75})
    assert fit.found[1] == pytest.approx(0.7, rel=1e-4)
    assert "fails beside it" in fit.notes[1]
    assert math.isnan(fit.deviation[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": {}}, "at least one"),
        ({"start": {**START, "rate": 0.0}}, "positive"),
        ({"start": {**START, "rate": math.nan}}, "positive"),
        ({"noise": -1.0}, "noise"),
        ({"noise": math.nan}, "noise"),
        ({"iterations": 0}, "iterations"),
        ({"bounds": {"rate": (2.0, 3.0)}}, "enclose"),
        ({"bounds": {"rate": (-1.0, 3.0)}}, "positive"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(OptionError, match=words):
        identify(decay(), **{"start": START, **changes})


def test_too_few_observations_and_a_start_that_fails_are_refused():
    with pytest.raises(OptionError, match="observe more"):
        identify(decay(2), START)
    assert identify(decay(2), START, noise=0.1).observations == 2
    with pytest.raises(OptionError, match="start values"):
        identify(lambda p: p * torch.nan, START)


# sheets


@functools.cache
def pressed():
    """A small strip that a finger presses flat, beyond where it yields, and then drags: the task, the states, the actions."""
    small = {"cell": 0.0075, "length": 0.06, "width": 0.012, "bend": 0.006, "finger": 0.02, "tip_vertices": 6}
    task = make_task("pliant/FoldingU-v0", horizon=10, dt=0.01, release=0, **small)
    actions = torch.zeros(1, 10, 6, dtype=torch.float64)
    actions[:, :7, 2] = -1.0
    actions[:, 7:, 0] = 0.4
    with torch.no_grad():
        played = task.rollout(actions, keep=True)
    assert bool(played.ok)
    assert float(played.final.plastic_curvature.max()) > 50
    return task, played.states, actions


def watched(first=0, every=1):
    """What is seen of it from a step on, which is quicker than all of it."""
    task, states, actions = pressed()
    steps = list(range(every, 11 - first, every))
    return task, Observation(states[first], actions[:, first:], steps, torch.stack([task.markers(states[first + t]) for t in steps], 1))


def test_a_task_on_sheets_says_what_it_has():
    task, _ = watched()
    found = {name: parameter.value for name, parameter in task.identifiable().items()}
    stiffness = 4e9 * 1e-12 / (12 * (1 - 0.3**2))
    assert found == pytest.approx(
        {
            "friction": 0.3, "table_friction": 0.2, "tip_friction": 1.0, "bending_stiffness": stiffness, "yield_curvature": 100.0,
            "density": 800.0,
        }
    )  # fmt: skip
    assert "yield_curvature" not in make_task("pliant/Forming-v0", horizon=2, material="cloth").identifiable()
    assert not make_task("pliant/Sliding-v0", script_steps=1).identifiable()


def test_the_task_with_its_own_parameters_is_the_task():
    task, seen = watched(first=8)
    values = torch.tensor([parameter.value for parameter in task.identifiable().values()], dtype=torch.float64)
    with torch.no_grad():
        remains = residuals(task, seen, list(task.identifiable()))(values)
    assert float(remains.abs().max()) < 1e-12


def test_the_slope_of_the_misfit_agrees_with_central_differences():
    """In every parameter of the sheet, through contact of the sheet with itself, the table and the finger, while it yields."""
    task, seen = watched(first=6)
    names = list(task.identifiable())
    remaining = residuals(task, seen, names)
    place = 1.1 * torch.tensor([parameter.value for parameter in task.identifiable().values()], dtype=torch.float64)

    def misfit(p):
        return 0.5 * (remaining(p) ** 2).sum()

    p = place.clone().requires_grad_()
    (slope,) = torch.autograd.grad(misfit(p), p)
    for k, name in enumerate(names):
        step = torch.zeros_like(place)
        step[k] = 1e-4 * place[k]
        with torch.no_grad():
            expected = float(misfit(place + step) - misfit(place - step)) / float(2 * step[k])
        assert expected != 0, name
        assert float(slope[k]) == pytest.approx(expected, rel=1e-4), name


def test_the_bending_stiffness_is_found_from_every_second_frame():
    task, seen = watched(first=6, every=2)
    true = task.identifiable()["bending_stiffness"].value
    fit = identify(residuals(task, seen, ["bending_stiffness"]), {"bending_stiffness": 1.5 * true}, noise=1e-5)
    assert fit.found[0] == pytest.approx(true, rel=1e-4)
    assert fit.identified.all()


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 2e-5])
def test_friction_stiffness_and_yield_curvature_are_found_from_one_motion(noise):
    task, seen = watched()
    names = ["friction", "bending_stiffness", "yield_curvature"]
    true = np.array([task.identifiable()[name].value for name in names])
    draw = torch.Generator().manual_seed(1)
    seen = dataclasses.replace(seen, places=seen.places + noise * torch.randn(seen.places.shape, generator=draw, dtype=torch.float64))
    fit = identify(residuals(task, seen, names), dict(zip(names, true * [1.5, 1.5, 1 / 1.5], strict=True)))
    assert fit.identified.all()
    if noise:
        assert np.all(np.abs(fit.found - true) < 3 * fit.deviation), (fit.found, fit.deviation)
        assert fit.noise == pytest.approx(noise, rel=0.1)
    else:
        assert np.allclose(fit.found, true, rtol=1e-4)


def test_a_yield_curvature_is_not_identifiable_where_nothing_yields():
    task, states, actions = pressed()
    seen = Observation(states[0], actions[:, :2], [2], task.markers(states[2])[:, None])
    fit = identify(residuals(task, seen, ["yield_curvature"]), {"yield_curvature": 90.0}, noise=1e-5)
    assert fit.notes == (f"{NOT_IDENTIFIABLE}: it has no effect where it was found",)
    assert fit.simulations == 3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda seen: {"places": seen.places * torch.nan}, ModelError, "not finite"),
        (lambda seen: {"places": seen.places[:, :1]}, ShapeError, "places"),
        (lambda seen: {"actions": seen.actions[..., :3]}, ShapeError, "actions"),
        (lambda seen: {"steps": [1, 1]}, ShapeError, "ascending"),
        (lambda seen: {"steps": [1, 7]}, ShapeError, "1 to 2"),
        (lambda seen: {"start": seen.start.replace(position=seen.start.position[:, :-1])}, ShapeError, "mesh"),
        (lambda seen: {"start": seen.start.replace(velocity=seen.start.velocity * math.inf)}, ModelError, "not finite"),
        (lambda seen: {"start": seen.start.replace(status=seen.start.status + int(Outcome.TOO_FAST))}, ModelError, "failed"),
    ],
)
def test_an_observation_that_is_none_of_the_task_is_refused(change, error, words):
    task, seen = watched(first=8)
    with pytest.raises(error, match=words) as caught:
        residuals(task, dataclasses.replace(seen, **change(seen)), ["friction"])
    assert str(caught.value).count("\n") == 0


def test_parameters_that_the_task_does_not_have_are_refused():
    task, seen = watched(first=8)
    with pytest.raises(UnknownNameError, match="bending_stiffness"):
        residuals(task, seen, ["wetness"])
    with pytest.raises(UnknownNameError, match="bending_stiffness"):
        task.with_parameters({"wetness": 1.0})
    toy = make_task("toy:Reach")
    with pytest.raises(OptionError, match="identifiable"):
        residuals(toy, seen, ["mass"])
    with pytest.raises(OptionError, match="no parameters"):
        toy.with_parameters({"mass": 1.0})


# the command line

SLED = "test_identify:Sled"


@pytest.fixture
def motion(tmp_path):
    """A run of the toy with a mass and a drag that are not the defaults, seen in two environments."""
    words = ("--set", "mass=0.6", "--set", "drag=0.5", "--set", "horizon=30", "--num-envs", 2, "--seed", 1, "--no-video")
    cli("run", SLED, *words, "--out", tmp_path / "seen")
    return tmp_path / "seen"


def test_a_run_of_the_command_line_gives_its_parameters_back(motion):
    words = ("--replay", motion, "--parameters", "mass,drag", "--start", "mass=0.9", "--start", "drag=0.3")
    found = json.loads(cli("identify", SLED, *words, "--noise", "0.001", "--json").stdout)
    mass, drag = (found["metrics"]["parameters"][name] for name in ("mass", "drag"))
    assert (mass["start"], mass["unit"]) == (0.9, "kg")
    assert mass["found"] == pytest.approx(0.6, rel=1e-4)
    assert drag["found"] == pytest.approx(0.5, rel=1e-3)
    assert 0 < mass["relative"] < 0.05
    assert found["metrics"]["observations"] == 2 * 30 * 2
    assert found["settings"]["task_options"]["horizon"] == 30
    kept = RunFolder(found["folder"]).read()
    assert (kept.verb, kept.status, kept.metrics) == ("identify", "finished", found["metrics"])


def test_it_prints_a_table_and_says_what_the_motion_does_not_tell(motion):
    lines = cli("identify", SLED, "--replay", motion, "--start", "mass=0.5", "--out", "found").stdout.splitlines()
    assert lines[0].split() == ["parameter", "unit", "start", "found", "+-", "relative"]
    assert [line.split()[0] for line in lines[1:4]] == ["mass", "drag", "stiffness"]
    assert lines[1].split()[1:4] == ["kg", "0.5", "0.6"]
    assert lines[2].split()[2] == "0.5"  # by default a parameter starts where the run had it
    assert any(line.startswith("files") and "found" in line for line in lines)


def test_a_motion_that_tells_nothing_ends_with_1(tmp_path):
    cli("run", SLED, "--policy", "zero", "--set", "horizon=2", "--no-video", "--out", "still")
    out = cli("identify", SLED, "--replay", "still", "--parameters", "stiffness", "--noise", "1", status=1).stdout
    assert NOT_IDENTIFIABLE in out


def test_the_same_search_is_replaced_and_another_one_wants_overwrite(motion):
    words = ("identify", SLED, "--replay", motion, "--parameters", "mass", "--out", "found", "--json")
    first = json.loads(cli(*words).stdout)
    assert json.loads(cli(*words).stdout)["metrics"]["parameters"] == first["metrics"]["parameters"]
    assert "overwrite" in complaint(*words, "--noise", "0.1")
    cli(*words, "--noise", "0.1", "--overwrite")
    assert "holds a run with verb" in complaint(*words[:-2], motion, "--json")


def test_a_sheet_is_identified_by_the_command_line(tmp_path):
    options = [word for name in ("horizon=2", "release=0", "cell=0.02", "tip_vertices=6") for word in ("--set", name)]
    cli("run", "pliant/FoldingU-v0", *options, "--policy", "zero", "--no-video", "--out", "seen")
    found = json.loads(
        cli(
            "identify", "pliant/FoldingU-v0", "--replay", "seen", "--parameters", "bending_stiffness,yield_curvature", "--start",
            "bending_stiffness=0.0004", "--iterations", "3", "--json",
        ).stdout
    )  # fmt: skip
    stiffness, curvature = (found["metrics"]["parameters"][name] for name in ("bending_stiffness", "yield_curvature"))
    assert stiffness["found"] == pytest.approx(4e9 * 1e-12 / (12 * (1 - 0.3**2)), rel=1e-2)
    assert "no effect" in curvature["note"]
    assert curvature["deviation"] is None


def edited(folder, **changes):
    """The replay with some of its arrays changed."""
    path = folder / "replay.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, **{name: change(arrays[name].copy()) for name, change in changes.items()}})


def blank(places):
    places[0, 3, 0] = np.nan
    return places


def fail(status):
    status[1, -1] = int(Outcome.TOO_FAST)
    return status


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--parameters", "maas"], "Did you mean mass"),
        (["--start", "maas=2"], "Did you mean mass"),
        (["--start", "mass=0"], "positive"),
        (["--start", "mass=heavy"], "float"),
        (["--start", "mass"], "name=value"),
        (["--parameters", "drag", "--start", "mass=2"], "--parameters"),
        (["--set", "drag=0"], "--start drag="),
        (["--noise", "-0.1"], "noise"),
        (["--noise", "0"], "noise"),
        (["--set", "horizon=29"], "horizon=30"),
        (["--set", "dt=0.04"], "dt"),
        (["--preset", "empty"], "horizon=30"),
        (["--iterations", "0"], "iterations"),
    ],
)
def test_bad_options_are_explained_in_a_line_or_two(motion, words, hint):
    assert hint in complaint("identify", SLED, "--replay", motion, *words)
    assert not (motion.parent / "runs").exists()


def test_bad_motions_are_explained_in_a_line_or_two(motion):
    def said(task=SLED, replay=motion):
        return complaint("identify", task, "--replay", replay)

    cli("run", "toy:Reach", "--no-video", "--out", "reach")
    assert "nothing" not in said("toy:Reach", "reach")
    assert "no parameters to identify" in said("toy:Reach", "reach")
    assert "holds a motion of toy:Reach, not of" in said(replay="reach")
    assert "no result.json" in said(replay="nowhere")
    whole = (motion / "replay.npz").read_bytes()
    edited(motion, position=blank)
    assert "not finite" in said()
    (motion / "replay.npz").write_bytes(whole)
    edited(motion, status=fail)
    assert "Environment 1" in said()
    assert "TOO_FAST" in said()
    (motion / "replay.npz").write_bytes(whole[:100])
    assert "replay.npz" in said()
    (motion / "replay.npz").unlink()
    assert "no replay.npz" in said()


def test_a_motion_on_another_mesh_is_refused(tmp_path):
    task = ("pliant/FoldingU-v0", "--set", "horizon=1", "--set", "release=0", "--set", "tip_vertices=6")
    cli("run", *task, "--set", "cell=0.02", "--policy", "zero", "--no-video", "--out", "seen")
    assert "mesh" in complaint("identify", "pliant/FoldingU-v0", "--replay", "seen", "--set", "cell=0.01")
    assert RunFolder("seen").load_replay(SolidState).tensors["position"].shape[:2] == (1, 2)
