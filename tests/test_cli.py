"""The command line: what it writes, what it says when something is wrong, and how it stops."""

import json
import math
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3
import numpy as np
import pytest
import torch
from toy import PointState, Reach
from typer.testing import CliRunner

import pliant
from pliant import benchmarks
from pliant.app.cli import app
from pliant.app.commands.optimize import default_budget
from pliant.app.commands.validate import chosen
from pliant.app.options import literal, pairs, parsed
from pliant.app.play import FRAMES, Film, play
from pliant.app.results import RunFolder, load_actions
from pliant.app.table import capabilities, capability_markdown
from pliant.benchmarks import Row
from pliant.envs.registry import TASKS
from pliant.errors import OptionError, UnknownNameError
from pliant.sim import SOLVERS, solver_class
from pliant.validation import CASES, Measured, case

QUICK = ("--iterations", "3", "--no-video")


class Blank(Reach):
    """Nobody has drawn it."""

    draw = Reach.__mro__[1].draw


class Doomed(Reach):
    """Too fast from the first step on."""

    presets = {"small": Reach.presets["small"].__class__(speed_limit=1e-9)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Default folders lie below the working directory."""
    monkeypatch.chdir(tmp_path)


def cli(*words, status=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done


def complaint(*words, status=2):
    """What is said on stderr: one or two lines and no traceback."""
    done = cli(*words, status=status)
    assert done.stdout == ""
    assert 1 <= len(done.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in done.stderr
    return done.stderr


def child(*words, **options):
    """The command line in a process of its own, from the folder of the toy."""
    command = [sys.executable, "-m", "pliant", *map(str, words)]
    options = {"cwd": Path(__file__).parent, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, **options)


# start-up and help


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["--help"], ["optimize", "--help"], ["--version"], []])
def test_what_only_tells_does_not_bring_up_torch_or_taichi(words):
    code = "import sys; from pliant.app.cli import app; status = app(sys.argv[1:], standalone_mode=False); print(status, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert not {"torch", "taichi", "matplotlib", "rich"} & set(modules)


def test_list_names_every_task():
    assert [line.split()[0] for line in cli("list").stdout.splitlines()] == sorted(TASKS)
    assert [task["task"] for task in json.loads(cli("list", "--json").stdout)] == sorted(TASKS)


def test_version_and_help():
    assert cli("--version").stdout == f"{pliant.__version__}\n"
    assert all(verb in cli("--help").stdout for verb in ("list", "info", "run", "optimize", "validate", "bench"))


# info


def test_info_tells_versions_devices_and_solvers():
    found = json.loads(cli("info", "--json").stdout)
    assert found["versions"]["torch"] == torch.__version__
    assert found["devices"][0].startswith("cpu")
    assert found["solvers"]["mpm"]["dimensions"] == [2, 3]
    text = cli("info").stdout
    assert "taichi" in text
    assert "mpm" in text


def test_the_capability_table_holds_what_every_solver_declares():
    head, rule, *rows = capability_markdown().splitlines()
    assert {line.count("|") for line in (head, rule, *rows)} == {head.count("|")}
    assert [row.split("|")[1].strip() for row in rows] == list(SOLVERS)
    for entry, row in zip(capabilities().values(), rows, strict=True):
        for word in (*entry.materials, *entry.contact, *entry.differentiable, *entry.dtypes, *entry.backends):
            assert word in row
    assert cli("info", "--markdown").stdout == capability_markdown() + "\n"


def test_an_unknown_solver_is_an_error():
    with pytest.raises(UnknownNameError, match="mpm"):
        solver_class("mpn")


def test_info_of_a_task_shows_presets_and_units():
    text = cli("info", "toy:Reach").stdout
    assert "max_force" in text
    assert "[s]" in text
    found = json.loads(cli("info", "toy:Reach", "--json").stdout)
    assert found["presets"]["full"]["horizon"] == 200
    assert found["notes"]["dt"] == "Duration of a control step [s]."


# run


def test_run_writes_the_folder_with_a_video_of_every_environment():
    done = cli("run", "toy:Reach", "--num-envs", 5, "--seed", 3, "--out", "out")
    assert "5 of 5 environments OK" in done.stdout
    folder = RunFolder("out")
    result = folder.read()
    assert (result.verb, result.status, result.task, result.outcomes) == ("run", "finished", "toy:Reach", ["OK"] * 5)
    assert set(result.files) == {"actions.npz", "replay.npz", "video.mp4", "video.gif"}
    assert {path.name for path in folder.path.iterdir()} == {"result.json", *result.files}

    film, animation = (imageio.v3.imread(folder.path / name) for name in ("video.mp4", "video.gif"))
    assert film.shape == animation.shape == (13, 360, 720, 3)
    assert film.astype(float)[0, :, :240].std() > 3  # something is to be seen
    assert (animation[0, 180:, 480:] == 255).all()  # the sixth tile is empty

    actions = torch.from_numpy(load_actions(folder.path, "toy:Reach", 2))
    played = Reach().rollout(actions, seed=range(3, 8), keep=True)
    assert result.metrics["loss"] == pytest.approx(played.loss.tolist())
    replay = folder.load_replay(PointState)
    assert (len(replay), replay.batch, replay.dt) == (13, 5, pytest.approx(0.05))
    assert all(torch.equal(replay[t].position, state.position) for t, state in enumerate(played.states))


def test_run_gives_an_environment_the_same_whatever_stands_beside_it():
    alone, together = (json.loads(cli("run", "toy:Reach", "--num-envs", n, "--no-video", "--json").stdout) for n in (1, 3))
    assert together["metrics"]["return"][0] == alone["metrics"]["return"][0]
    assert len(set(together["metrics"]["return"])) == 3
    assert together["folder"] == "runs/Reach-randomx3-0"


def test_run_of_zero_actions_and_of_stored_ones():
    zero = json.loads(cli("run", "toy:Reach", "--policy", "zero", "--no-video", "--json", "--out", "zero").stdout)
    again = json.loads(cli("run", "toy:Reach", "--policy", "zero/actions.npz", "--no-video", "--json", "--out", "again").stdout)
    assert again["metrics"]["loss"] == zero["metrics"]["loss"]
    spread = json.loads(cli("run", "toy:Reach", "--policy", "zero", "--num-envs", 2, "--no-video", "--json", "--out", "spread").stdout)
    assert spread["metrics"]["loss"][0] == zero["metrics"]["loss"][0]


def test_run_ends_a_sum_of_rewards_with_the_failure():
    done = cli("run", "test_cli:Doomed", "--no-video", "--out", "out", "--json", status=1)
    result = json.loads(done.stdout)
    assert result["outcomes"] == ["TOO_FAST"]
    assert result["metrics"]["return"] == [Doomed.failure_reward]


def test_a_run_without_a_picture_goes_on_without_a_video():
    done = cli("run", "test_cli:Blank", "--out", "out")
    assert "no video" in done.stderr
    assert set(RunFolder("out").read().files) == {"actions.npz", "replay.npz"}


def test_an_option_of_the_task_is_set_by_name():
    options = ("--set", "mass=2", "--set", "colour=0.1,0.2,0.3", "--set", "shape=7", "--set", "horizon=4")
    found = json.loads(cli("run", "toy:Reach", *options, "--no-video", "--json").stdout)["settings"]["task_options"]
    assert (found["mass"], found["colour"], found["shape"], found["horizon"]) == (2.0, [0.1, 0.2, 0.3], "7", 4)


def test_a_film_has_few_frames_the_last_state_and_a_limited_replay(monkeypatch):
    monkeypatch.setattr("pliant.app.play.REPLAY_BYTES", 4000)
    task = Reach(horizon=500)
    film = Film(task, 40, 500, drawn=False)
    seen = []
    play(task, torch.zeros(40, 500, 2), range(40), lambda t, state: (seen.append(t), film.watch(t, state)))
    assert seen == list(range(501))
    replay = film.replay
    assert len(replay) <= FRAMES + 1
    assert sum(tensor.nbytes for tensor in replay.tensors.values()) <= 4000
    assert replay.dt * (len(replay) - 1) == pytest.approx(25.0, rel=0.03)
    assert film.fps == 10
    assert film.speed == pytest.approx(500 * 0.05 / 120 * 10)


# optimize


@pytest.mark.parametrize("method", ["adam", "cma", "mppi", "hybrid"])
def test_optimize_lowers_the_loss_and_writes_the_whole_folder(method):
    done = cli("optimize", "toy:Reach", "--method", method, "--iterations", 15)
    folder = RunFolder(f"runs/Reach-{method}-0")
    result = folder.read()
    assert (result.status, result.outcomes, result.metrics["iterations"]) == ("finished", ["OK"], 15)
    assert set(result.files) == {"actions.npz", "replay.npz", "loss.png", "video.mp4", "video.gif"}
    assert {path.name for path in folder.path.iterdir()} == {"result.json", "progress.npz", *result.files}
    start, best, ratio = (result.metrics[name] for name in ("start_loss", "best_loss", "ratio"))
    assert best < 0.8 * start
    assert ratio == pytest.approx(best / start)
    for text in (f"start {start:.4g}", f"best {best:.4g}", f"ratio {ratio:.4g}", str(folder)):
        assert text in done.stdout
    actions = torch.from_numpy(load_actions(folder.path, "toy:Reach", 2))
    assert float(Reach().rollout(actions, seed=0).loss) == pytest.approx(best, rel=1e-6)


def test_optimize_in_two_parts_gives_the_bits_of_one():
    cli("optimize", "toy:Reach", "--iterations", 6, "--no-video", "--out", "whole")
    cli("optimize", "toy:Reach", *QUICK, "--out", "parts")
    done = cli("optimize", "toy:Reach", "--iterations", 6, "--no-video", "--out", "parts", "--resume", "--json")
    assert json.loads(done.stdout)["metrics"]["iterations"] == 6
    whole, parts = (load_actions(name, "toy:Reach", 2) for name in ("whole", "parts"))
    assert np.array_equal(whole, parts)
    eased = ("--expand-from", 0.4, "--expand-after", 1, "--no-video")
    found = json.loads(cli("optimize", "toy:Reach", "--iterations", 6, *eased, "--out", "eased", "--json").stdout)
    assert found["settings"]["expand_from"] == 0.4
    assert found["metrics"]["evaluations"] > 7  # each iteration is judged over the whole horizon besides
    cli("optimize", "toy:Reach", "--iterations", 3, *eased, "--out", "eased-parts")
    cli("optimize", "toy:Reach", "--iterations", 6, *eased, "--out", "eased-parts", "--resume")
    assert (Path("eased") / "actions.npz").read_bytes() == (Path("eased-parts") / "actions.npz").read_bytes()
    assert "expand_from = 0.4" in complaint("optimize", "toy:Reach", "--iterations", 9, "--no-video", "--out", "eased-parts", "--resume")
    idle = cli("optimize", "toy:Reach", "--iterations", 6, "--no-video", "--out", "parts", "--resume")
    assert "ask for more" in idle.stderr
    assert np.array_equal(whole, load_actions("parts", "toy:Reach", 2))


def test_options_reach_the_method():
    options = ("--knots", 4, "--interpolation", "bspline", "--option", "population=6", "--option", "sigma=0.3")
    found = json.loads(cli("optimize", "toy:Reach", "--method", "cma", *QUICK, *options, "--json").stdout)
    assert found["metrics"]["evaluations"] == 1 + 3 * 6
    assert found["settings"]["method_options"] == {"population": 6, "sigma": 0.3}
    fast, slow = (
        json.loads(cli("optimize", "toy:Reach", *QUICK, "--learning-rate", rate, "--out", rate, "--json").stdout) for rate in (0.05, 1e-6)
    )
    assert fast["metrics"]["ratio"] < slow["metrics"]["ratio"]


def test_a_time_limit_is_a_budget_of_its_own():
    began = time.perf_counter()
    found = json.loads(cli("optimize", "toy:Reach", "--time-limit", 0.5, "--no-video", "--json").stdout)
    assert found["settings"]["iterations"] is None
    assert found["metrics"]["seconds"] >= 0.49  # two clocks are read
    assert time.perf_counter() - began < 60


def test_other_methods_may_cost_what_adam_costs():
    task = Reach()
    assert default_budget(task, "adam") == (50, None)
    task.iterations = 30
    assert default_budget(task, "adam") == (30, None)
    assert default_budget(task, "cma") == default_budget(task, "hybrid") == (None, 120)


def test_simulations_are_a_budget_of_their_own():
    words = ("optimize", "toy:Reach", "--method", "hybrid", "--no-video", "--json")
    found = json.loads(cli(*words, "--simulations", 60, "--out", "whole").stdout)
    assert found["settings"]["iterations"] is None
    assert 40 < found["metrics"]["simulations"] <= 60
    cli(*words, "--simulations", 30, "--out", "parts")
    more = json.loads(cli(*words, "--simulations", 60, "--out", "parts", "--resume").stdout)
    assert more["metrics"]["simulations"] == found["metrics"]["simulations"]
    assert Path("whole/actions.npz").read_bytes() == Path("parts/actions.npz").read_bytes()


def test_gradients_that_were_clipped_are_told():
    done = cli("optimize", "toy:Reach", "--method", "hybrid", "--iterations", 8, "--no-video", "--option", "max_gradient_norm=1e-3")
    clipped = RunFolder("runs/Reach-hybrid-0").read().metrics["clipped"]
    assert clipped > 0
    assert f"{clipped} gradients clipped" in done.stdout


def test_a_finished_run_of_another_setting_is_kept():
    cli("optimize", "toy:Reach", *QUICK)
    before = Path("runs/Reach-adam-0/result.json").read_text()
    text = complaint("optimize", "toy:Reach", *QUICK, "--set", "mass=0.7")
    assert "mass = 0.5, not 0.7" in text
    assert "--overwrite" in text
    assert Path("runs/Reach-adam-0/result.json").read_text() == before
    cli("optimize", "toy:Reach", *QUICK)
    cli("optimize", "toy:Reach", *QUICK, "--set", "mass=0.7", "--overwrite")


def test_what_an_earlier_run_left_does_not_stand_beside_the_new_result():
    cli("optimize", "toy:Reach", "--iterations", 1)
    assert Path("runs/Reach-adam-0/video.gif").exists()
    cli("optimize", "toy:Reach", "--iterations", 1, "--no-video")
    assert not Path("runs/Reach-adam-0/video.gif").exists()


def test_nothing_that_can_be_simulated_is_a_failed_check():
    done = cli("optimize", "test_cli:Doomed", *QUICK, "--json", status=1)
    assert "No action sequence" in done.stderr
    assert json.loads(done.stdout)["metrics"]["best_loss"] is None


# interruption and full disks


def optimizing(tmp_path, *words, **options):
    """A run that would take an hour, once it has done an iteration."""
    process = child("optimize", "toy:Reach", "--iterations", 10**6, "--out", tmp_path / "out", *words, **options)
    until = time.monotonic() + 120
    while not (tmp_path / "out" / "result.json").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_best_writes_the_folder_and_says_how_to_go_on(number, tmp_path):
    process = optimizing(tmp_path, "--seed", 1, "--json")
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"pliant optimize toy:Reach --iterations 1000000 --out {tmp_path}/out --seed 1 --json --resume" in said
    result = RunFolder(tmp_path / "out").read()
    assert json.loads(out)["status"] == result.status == "interrupted"
    assert set(result.files) == {"actions.npz", "replay.npz", "loss.png", "video.mp4", "video.gif"}
    done = result.metrics["iterations"]

    refused = complaint("optimize", "toy:Reach", "--out", tmp_path / "out", "--seed", 1)
    assert "--resume" in refused
    more = json.loads(
        cli("optimize", "toy:Reach", "--out", tmp_path / "out", "--seed", 1, "--iterations", done + 2, "--resume", "--json").stdout
    )
    assert more["status"] == "finished"
    assert more["metrics"]["iterations"] == done + 2
    assert more["metrics"]["best_loss"] <= result.metrics["best_loss"]


def test_a_killed_run_goes_on_from_its_last_second(tmp_path):
    process = optimizing(tmp_path)
    time.sleep(1.5)
    process.kill()
    process.communicate()
    assert RunFolder(tmp_path / "out").read().status == "running"
    assert "--resume" in complaint("optimize", "toy:Reach", "--out", tmp_path / "out")
    words = ("--out", tmp_path / "out", "--resume", "--time-limit", "0", "--no-video", "--json")
    assert json.loads(cli("optimize", "toy:Reach", *words).stdout)["metrics"]["iterations"] > 0


def test_a_background_job_of_a_shell_can_be_interrupted(tmp_path):
    process = optimizing(tmp_path, "--no-video", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_disk_that_fills_up_spares_what_fits(tmp_path):
    words = ("optimize", "toy:Reach", "--iterations", 20, "--no-video", "--out", tmp_path / "out")
    process = child(*words, preexec_fn=limited(6000))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "loss.png" in said
    assert "Traceback" not in said
    assert load_actions(tmp_path / "out", "toy:Reach", 2).shape == (1, 12, 2)
    assert "loss.png" not in RunFolder(tmp_path / "out").read().files


def test_a_folder_that_is_full_at_once_costs_no_work(tmp_path):
    process = child("optimize", "toy:Reach", "--out", tmp_path / "out", preexec_fn=limited(100))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert len(said.strip().splitlines()) == 1
    assert "Cannot write" in said


def test_results_that_find_no_room_go_elsewhere(monkeypatch, tmp_path):
    write, refuge = RunFolder.write_actions, tmp_path / "refuge"
    refuge.mkdir()

    def full(folder, *arguments):
        if folder.path.name == "out":
            raise pliant.errors.FileFormatError("Cannot write out/actions.npz: No space left on device.")
        write(folder, *arguments)

    monkeypatch.setattr(RunFolder, "write_actions", full)
    monkeypatch.setattr("tempfile.tempdir", str(refuge))
    done = cli("optimize", "toy:Reach", *QUICK, "--out", "out", status=2)
    (place,) = refuge.iterdir()
    assert place.name in done.stderr
    assert load_actions(place, "toy:Reach", 2).shape == (1, 12, 2)
    assert RunFolder(place).read().status == "finished"


def test_ctrl_c_before_anything_runs_is_quiet(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pliant.app.play.play", interrupted)
    assert complaint("run", "toy:Reach", "--no-video", status=130) == "Interrupted.\n"


def test_ctrl_c_while_drawing_leaves_the_result(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pliant.app.play.play", interrupted)
    cli("optimize", "toy:Reach", *QUICK, status=130)
    assert RunFolder("runs/Reach-adam-0").read().files == ["actions.npz", "loss.png"]


# wrong usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("optimise toy:Reach", "optimize"),
        ("optimize", "TASK"),
        ("optimize pliant/Pourin-v0", "Did you mean pliant/Pouring-v0"),
        ("optimize pouring", "Did you mean pliant/Pouring-v0"),
        ("optimize xyzzy", "pliant/ShapeDough-v0"),
        ("optimize toy:Reac", "no class of a task"),
        ("optimize nowhere:Reach", "module nowhere"),
        ("optimize toy:Reach --method adm", "Did you mean adam"),
        ("optimize toy:Reach --method zzz", "adam, cma"),
        ("optimize toy:Reach --preset smal", "Did you mean small"),
        ("optimize toy:Reach --dtype float16", "float32"),
        ("optimize toy:Reach --device cuda", "cpu"),
        ("optimize toy:Reach --device gpu", "cpu"),
        ("optimize toy:Reach --set mas=1", "Did you mean mass"),
        ("optimize toy:Reach --set mass", "name=value"),
        ("optimize toy:Reach --set mass=1 --set mass=2", "twice"),
        ("optimize toy:Reach --set mass=heavy", "float"),
        ("optimize toy:Reach --set mass=nan", "finite"),
        ("optimize toy:Reach --set mass=-1", "positive"),
        ("optimize toy:Reach --set horizon=2.5", "int"),
        ("optimize toy:Reach --learning-rate nan", "learning_rate"),
        ("optimize toy:Reach --time-limit nan", "time_limit"),
        ("optimize toy:Reach --time-limit -1", "time_limit"),
        ("optimize toy:Reach --iterations -1", "--iterations"),
        ("optimize toy:Reach --iterations many", "--iterations"),
        ("optimize toy:Reach --simulations nan", "simulations"),
        ("optimize toy:Reach --simulations -1", "simulations"),
        ("optimize toy:Reach --knots 0", "knots"),
        ("optimize toy:Reach --knots 99", "knots"),
        ("optimize toy:Reach --seed -1", "--seed"),
        ("optimize toy:Reach --interpolation cubic", "linear"),
        ("optimize toy:Reach --method cma --learning-rate 0.1", "sigma"),
        ("optimize toy:Reach --option sigma=0.1", "learning_rate"),
        ("optimize toy:Reach --method mppi --option temperature=-1", "temperature"),
        ("optimize toy:Reach --out /dev/null/out", "/dev/null/out"),
        ("optimize toy:Reach --resume", "without --resume"),
        ("optimize toy:Reach --expand-from 0", "expand_from"),
        ("optimize toy:Reach --expand-from 0.5 --expand-by 2", "expand_by"),
        ("optimize toy:Reach --expand-from 0.5 --expand-after 0", "expand_after"),
        ("optimize toy:Reach --soft-contact 2", "nothing to soften"),
        ("optimize toy:Reach --soft-contact nan", "soften"),
        ("optimize toy:Reach --soft-contact 2 --soft-iterations 0", "soften_over"),
        ("optimize pliant/ShapeDough-v0 --soft-contact 0.5", "harder than the objective's own"),
        ("optimize toy:Reach --frobnicate", "--frobnicate"),
        ("run toy:Reach --policy rando", "Did you mean random"),
        ("run toy:Reach --policy no.npz", "no file"),
        ("run toy:Reach --num-envs 0", "--num-envs"),
        ("validate xyzzy", "There are"),
        ("bench mpn", "Did you mean mpm"),
    ],
)
def test_wrong_usage_is_told_in_a_line_or_two_and_leaves_nothing_behind(words, said, tmp_path):
    if "--device cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert said in complaint(*words.split())
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_files_are_told():
    cli("optimize", "toy:Reach", *QUICK, "--out", "out")
    text = Path("out/result.json").read_text()
    Path("out/result.json").write_text(text[:100])
    assert "damaged" in complaint("optimize", "toy:Reach", "--out", "out")
    assert "damaged" in complaint("optimize", "toy:Reach", "--out", "out", "--resume")
    Path("out/result.json").write_text(text)
    Path("out/progress.npz").write_bytes(Path("out/progress.npz").read_bytes()[:500])
    assert "progress.npz" in complaint("optimize", "toy:Reach", "--out", "out", "--resume")
    Path("out/progress.npz").write_bytes(b"")
    assert "progress.npz" in complaint("optimize", "toy:Reach", "--out", "out", "--resume")
    np.savez("foreign.npz", a=np.zeros(3))
    assert "not written by pliant" in complaint("run", "toy:Reach", "--policy", "foreign.npz")
    assert "progress.npz" in complaint("run", "toy:Reach", "--policy", "out/progress.npz")


def test_stored_actions_must_fit():
    cli("run", "toy:Reach", "--num-envs", 3, "--no-video", "--out", "out")
    assert "horizon=12" in complaint("run", "toy:Reach", "--policy", "out", "--set", "horizon=9", "--out", "x")
    assert "make it 3" in complaint("run", "toy:Reach", "--policy", "out", "--num-envs", 2, "--out", "x")
    assert "toy:Blind" in complaint("run", "toy:Blind", "--policy", "out", "--out", "x")


def test_our_own_mistakes_have_a_traceback_only_on_demand(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.setattr("pliant.app.play.play", broken)
    assert "--debug" in complaint("run", "toy:Reach", "--no-video", status=1)
    done = cli("run", "toy:Reach", "--no-video", "--debug", status=1)
    assert "Traceback" in done.stderr
    assert "Traceback" in cli("--debug", "run", "nothing", status=2).stderr


# validate and bench


def drop(height: float = 1.0, mode: str = "a") -> Measured:
    """Falls."""
    return Measured([height, math.nan], 1.0, abs(height - 1))


def push(force: float = 2.0) -> Measured:
    """Pushes."""
    return Measured(force, 2.0, 0.0)


def heat() -> Measured:
    """Burns."""
    raise FloatingPointError("overflow")


@pytest.fixture
def cases():
    """Three small cases in place of the real ones: one that can fail, one that passes, one that breaks off."""
    real = dict(CASES)
    CASES.clear()
    for name, function in {"mpm.drop": drop, "mpm.push": push, "pde.heat": heat}.items():
        case(name, source="a book", tolerance=0.1)(function)
    yield CASES
    CASES.clear()
    CASES.update(real)


@pytest.mark.usefixtures("cases")
def test_validate_runs_cases_by_name_or_prefix_and_tells_which_failed():
    assert "2 of 2 passed" in cli("validate", "mpm").stdout
    assert "1 of 1 passed" in cli("validate", "mpm.push").stdout
    failed = cli("validate", "mpm", "height=2", status=1).stdout
    assert "1 of 2 passed; failed: mpm.drop" in failed
    assert "reference 1, " in failed.replace(";", ",")
    broken = cli("validate", status=1)
    assert "2 of 3 passed; failed: pde.heat" in broken.stdout
    assert "FloatingPointError: overflow" in broken.stderr


def test_validate_prints_one_object_a_case(cases):
    done = cli("validate", "--json", status=1)
    objects = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    assert [entry["case"] for entry in objects] == list(cases)
    keys = {"case", "params", "value", "reference", "error", "tolerance", "passed", "seconds", "source"}
    assert all(set(entry) == keys for entry in objects)
    assert objects[0]["value"] == [1.0, None]
    assert not objects[2]["passed"]
    alone = json.loads(cli("validate", "mpm.drop", "height=1.05", "mode=b", "--json").stdout)
    assert alone["params"] == {"height": 1.05, "mode": "b"}


def test_validate_refuses_parameters_that_no_case_has(cases):
    assert "finite" in complaint("validate", "mpm", "height=nan")
    assert "height" in complaint("validate", "mpm", "hight=2")
    assert "Did you mean mpm.push" in complaint("validate", "mpm.pus")
    assert "name=value" in complaint("validate", "=3")
    listed = json.loads(cli("validate", "--list", "--json").stdout)
    assert [entry["case"] for entry in listed] == list(cases)
    assert "height=1.0" in cli("validate", "mpm", "--list").stdout


def test_a_prefix_ends_at_a_dot():
    names = ["mpm.bar", "mpm.bar_frequency", "pde.bar"]
    assert chosen(["mpm.bar"], names) == ["mpm.bar"]
    assert chosen(["mpm."], names) == names[:2]
    assert chosen(["pde", "mpm.bar"], names) == ["mpm.bar", "pde.bar"]
    with pytest.raises(UnknownNameError):
        chosen(["mp"], names)


def test_bench_prints_rows_for_people_and_programs(monkeypatch):
    rows = [
        Row.of("fake", "speed", "big", "float32", 6.0, "1/s", more_is_better=True, peer=3.0, peer_name="other"),
        Row.of("fake", "memory", "big", "float32", 6.0, "MiB", more_is_better=False, peer=3.0, peer_name="other"),
        Row.of("fake", "alone", "big", "float32", 6.0, "s", more_is_better=False),
    ]
    monkeypatch.setitem(benchmarks.BENCHES, "fake", lambda: rows)
    found = json.loads(cli("bench", "fake", "--json").stdout)
    assert [row["ratio"] for row in found] == [2.0, 0.5, None]
    assert list(found[0]) == ["bench", "what", "size", "dtype", "ours", "peer", "peer_name", "unit", "ratio"]
    assert "3 (other)" in cli("bench", "fake").stdout


# what people type


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1.5e-3", -1.5e-3),
        ("true", True),
        ("None", None),
        ("[1, 2]", [1, 2]),
        ("mesh.obj", "mesh.obj"),
        ("1,2", "1,2"),
        ("", ""),
    ],
)
def test_a_literal_is_what_it_reads_like(text, value):
    assert literal(text) == value
    assert type(literal(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("3", 1.0, 3.0),
        ("3", "a", "3"),
        ("3", 1, 3),
        ("false", True, False),
        ("0.1, 2", (0.0,), (0.1, 2.0)),
        ("(1,2)", (0.0,), (1.0, 2.0)),
        ("[1, 2]", (0.0,), (1, 2)),
        ("a,b", ("x",), ("a", "b")),
        ("", (0.0,), ()),
        ("7", None, 7),
    ],
)
def test_a_value_takes_the_type_of_the_default(text, default, value):
    assert parsed("name", text, default) == value


@pytest.mark.parametrize(("text", "default"), [("x", 1.0), ("1.5", 1), ("1", True), ("true", 1.0), ("1,x", (0.0,))])
def test_a_value_of_another_type_is_refused(text, default):
    with pytest.raises(OptionError, match="name"):
        parsed("name", text, default)


def test_pairs_take_dashes_for_underscores():
    assert pairs(["time-step=1", "b=x=y"]) == {"time_step": "1", "b": "x=y"}
