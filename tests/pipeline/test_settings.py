import pytest

from fastrec import cli
from fastrec.pipeline.parameters import CallError
from fastrec.pipeline.settings import recorded, settle


@pytest.fixture
def write_config(tiny_home):
    def write(text, name="small"):
        path = tiny_home / "configs" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_nothing_asked_is_the_default_run(tiny_home):
    settings = settle()
    assert settings.run.name == "digits"
    assert settings.overrides == {}
    assert settings.values("train") == {"run_name": "digits", "seed": 0, "rate": 1e-3, "names": ["a"]}


def test_a_configuration_is_found_by_path_and_by_name(write_config):
    path = write_config("train:\n  rate: 1e-2\ntune:\n")
    for asked in (str(path), "small", "small.yaml"):
        settings = settle(asked)
        assert settings.run.name == "small"
        assert settings.overrides == {"train": {"rate": 0.01}}


def test_the_runs_name_comes_from_the_call_then_the_file_then_its_name(write_config):
    write_config("run: other\n")
    assert settle("small").run.name == "other"
    assert settle("small", "third").run.name == "third"
    write_config("", name="bare")
    assert settle("bare").run.name == "bare"


def test_assignments_go_over_the_configuration(write_config):
    write_config("train:\n  rate: 1\n  seed: 2\n")
    settings = settle("small", assignments=["train.rate=null", "collect.names=[x, y]"])
    assert settings.overrides == {"train": {"rate": None, "seed": 2}, "collect": {"names": ["x", "y"]}}
    assert settings.given("train") == {"run_name": "small", "rate": None, "seed": 2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trian:\n  rate: 1\n", "did you mean 'train'"),
        ("train:\n  rats: 1\n", r"parameter train\.rats is unknown; did you mean 'rate'"),
        ("train:\n  rate: fast\n", r"train\.rate is 'fast', which is not float"),
        ("train:\n  seed: true\n", r"train\.seed is True, which is not int"),
        ("train:\n  run_name: x\n", "name the run with --run"),
        ("train: 3\n", "section 'train' is 3"),
        ("- train\n", "holds no sections"),
        ("train: [\n", "not readable as YAML"),
        ("train:\n  seed: 1\ntrain:\n  rate: 1\n", "'train' is given twice"),
        ("train:\n  seed: 1\n  seed: 2\n", "'seed' is given twice"),
        ("train: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
        ("run: ../up\n", "not usable"),
    ],
)
def test_a_wrong_configuration_is_a_wrong_call_that_names_the_place(text, told, write_config):
    write_config(text)
    with pytest.raises(CallError, match=told) as caught:
        settle("small")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "assignment", ["train.rate", "rate=3", "=3", ".rate=3", "train.=3", "train.rate=[1", "tran.rate=3", "train.names=3"]
)
def test_a_wrong_assignment_is_a_wrong_call(assignment, tiny_home):
    with pytest.raises(CallError):
        settle(assignments=[assignment])


def test_a_missing_configuration_names_those_there_are(write_config):
    write_config("", name="flowers")
    with pytest.raises(CallError, match="did you mean 'flowers'"):
        settle("flower")


def test_a_named_run_alone_continues_with_its_settings(write_config):
    write_config("train:\n  rate: 2\n")
    settle("small", "mine").save()
    assert settle(name="mine").overrides == {"train": {"rate": 2.0}}
    assert settle(name="mine", assignments=["train.rate=3"]).overrides == {"train": {"rate": 3.0}}
    assert settle().overrides == {}
    assert recorded(settle(name="mine").run).values("train")["rate"] == 2.0


def test_settings_that_no_longer_fit_name_their_file(write_stage):
    settle(name="mine", assignments=["train.rate=3"]).save()
    write_stage("train", parameters='run_name: str = "digits"')
    with pytest.raises(CallError, match=r"runs/mine/settings\.json no longer fits"):
        settle(name="mine")


@pytest.mark.parametrize("assignment", ["train.rate=2", "train.rate=fast", "train.rats=0.1"])
def test_what_is_refused_is_never_recorded(assignment, write_stage, capsys):
    write_stage("train", parameters='run_name: str = "digits"\nrate: float = 0.1  # step size [0..1]')
    settle(name="mine", assignments=["train.rate=0.5"]).save()
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--run", "mine", "--set", assignment])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert settle(name="mine").overrides == {"train": {"rate": 0.5}}
