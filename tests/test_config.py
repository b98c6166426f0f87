"""Where a setting comes from, and that an error says where the bad one stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from harvester.config import PRODUCTION, Credentials, config_file, credentials, load_settings
from harvester.errors import ConfigError

KEY = "S3cret-Key-0f-A-Member"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def refused(**flags: object) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load_settings(flags)
    return raised.value


# Precedence


def test_defaults_are_gentle_and_ask_production() -> None:
    settings = load_settings()
    assert settings.registry_url == PRODUCTION
    assert (settings.rate, settings.concurrency, settings.per_page) == (5.0, "auto", 1000)
    assert settings.resources == ("objects", "files", "events")
    assert (settings.file_mode, settings.dir_mode) == (0o600, 0o700)
    assert settings.email == ""
    assert settings.api_key.get_secret_value() == ""


def test_flag_over_variable_over_profile_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().rate == 5.0
    write(Path("config.toml"), "rate = 1\n")
    assert load_settings().rate == 1.0
    write(Path("config.toml"), "rate = 1\n[profiles.production]\nrate = 2\n")
    assert load_settings().rate == 2.0
    monkeypatch.setenv("HARVESTER_RATE", "3")
    assert load_settings().rate == 3.0
    assert load_settings({"rate": 4}).rate == 4.0
    assert load_settings({"rate": None}).rate == 3.0


def test_the_same_for_a_setting_whose_variable_is_apt_cmds(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("config.toml"), 'registry_url = "https://top.example.org"\n[profiles.mine]\nemail = "a@b.edu"\n')
    assert load_settings(profile="mine").registry_url == "https://top.example.org"
    text = Path("config.toml").read_text("utf-8") + 'registry_url = "https://profile.example.org"\n'
    write(Path("config.toml"), text)
    assert load_settings(profile="mine").registry_url == "https://profile.example.org"
    monkeypatch.setenv("APTRUST_REGISTRY_URL", "https://variable.example.org")
    assert load_settings(profile="mine").registry_url == "https://variable.example.org"
    flags = {"registry_url": "https://flag.example.org"}
    assert load_settings(flags, profile="mine").registry_url == "https://flag.example.org"


def test_apt_cmds_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APTRUST_REGISTRY_URL", "https://demo.aptrust.org/")
    monkeypatch.setenv("APTRUST_REGISTRY_EMAIL", "Some.One@example.edu")
    monkeypatch.setenv("APTRUST_REGISTRY_API_KEY", KEY)
    monkeypatch.setenv("APTRUST_REGISTRY_API_VERSION", "v4")
    settings = load_settings()
    assert settings.registry_url == "https://demo.aptrust.org"
    assert settings.registry_api_version == "v4"
    assert credentials(settings) == Credentials("Some.One@example.edu", SecretStr(KEY))


@pytest.mark.parametrize("name", ["EMAIL", "API_KEY", "REGISTRY_URL", "RATE", "OUTPUT", "CONCURRENCY", "USER_AGENT"])
def test_variables_of_other_tools_are_not_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings().model_dump()
    for spelt in (name, name.lower(), f"PHAROS_{name}"):
        monkeypatch.setenv(spelt, "https://evil.example.com")
    assert load_settings().model_dump() == before


def test_an_empty_variable_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_RATE", "")
    monkeypatch.setenv("APTRUST_REGISTRY_URL", "")
    monkeypatch.setenv("HARVESTER_PROFILE", "")
    assert load_settings().registry_url == PRODUCTION


def test_lists_and_modes_in_every_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_RESOURCES", "objects, items,")
    monkeypatch.setenv("HARVESTER_FILE_MODE", "640")
    settings = load_settings()
    assert settings.resources == ("objects", "items")
    assert settings.file_mode == 0o640
    write(Path("config.toml"), 'resources = ["files"]\nfile_mode = "0o644"\ndir_mode = 0o750\n')
    monkeypatch.delenv("HARVESTER_RESOURCES")
    monkeypatch.delenv("HARVESTER_FILE_MODE")
    settings = load_settings()
    assert settings.resources == ("files",)
    assert (settings.file_mode, settings.dir_mode) == (0o644, 0o750)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load_settings(), "rate", 100.0)  # noqa: B010


# Files


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_file(None) is None
    at_home = write(Path(os.environ["XDG_CONFIG_HOME"]) / "harvester" / "config.toml", "rate = 1\n")
    assert config_file(None) == at_home
    here = write(Path("config.toml"), "rate = 2\n")
    assert config_file(None) == here
    named = write(tmp_path / "named.toml", "rate = 3\n")
    monkeypatch.setenv("HARVESTER_CONFIG", str(named))
    assert load_settings().rate == 3.0
    asked = write(tmp_path / "asked.toml", "rate = 4\n")
    assert load_settings(config=asked).rate == 4.0


def test_a_file_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as by_flag:
        load_settings(config=Path("nowhere.toml"))
    assert by_flag.value.place == "--config"
    monkeypatch.setenv("HARVESTER_CONFIG", "nowhere.toml")
    assert refused().place == "HARVESTER_CONFIG"


def test_paths_in_a_file_are_meant_from_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "etc" / "h.toml", 'output = "dumps"\napi_key_file = "key"\n')
    settings = load_settings(config=file)
    assert settings.output == tmp_path / "etc" / "dumps"
    assert settings.api_key_file == tmp_path / "etc" / "key"
    monkeypatch.setenv("HARVESTER_OUTPUT", "dumps")
    assert load_settings(config=file).output == Path("dumps")
    assert load_settings({"output": "here"}, config=file).output == Path("here")


def test_the_example_is_all_defaults_and_names_every_setting() -> None:
    example = Path(__file__).parent.parent / "config.example.toml"
    settings = load_settings(config=example)
    assert settings.model_dump() == load_settings().model_dump()
    uncommented = [line[1:] for line in example.read_text("utf-8").splitlines() if line[:1] == "#" and "=" in line[:25]]
    named = {line.partition(" = ")[0] for line in uncommented}
    assert named >= type(settings).model_fields.keys()


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("\nrate = fast\n", "config.toml:2", "not TOML"),
        ("[profiles\n", "config.toml:1", "not TOML"),
        ("x = 1\nrate = 0\n", "config.toml:1", "no setting 'x'"),
        ('\n# rate\nrate = "fast"\n', "config.toml:3", "rate"),
        ("[profiles.production]\nrate = 1\n\nper_page = 2000\n", "config.toml:4", "per_page"),
        ("per_page = 1\n[profiles.production]\nper_pages = 2\n", "config.toml:3", "no setting 'per_pages'"),
        ('profile = "nobody"\n', "config.toml:1", "no profile 'nobody'"),
        ("profiles = 3\n", "config.toml: profiles", "must hold tables"),
        ("[profiles]\nproduction = 3\n", "config.toml: profiles", "must hold tables"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(text: str, place: str, problem: str) -> None:
    write(Path("config.toml"), text)
    error = refused()
    assert error.place == place
    assert problem in error.problem


def test_a_setting_is_named_even_where_the_path_of_its_file_holds_its_name(tmp_path: Path) -> None:
    file = write(tmp_path / "rate" / "h.toml", "rate = 0\n")
    with pytest.raises(ConfigError, match="rate: must be greater than 0") as raised:
        load_settings(config=file)
    assert raised.value.place == f"{file}:1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("output = 3\n", "output: must be a path"),
        ("resources = []\n", "resources: must name at least one"),
        ('user_agent = "ü"\n', "user_agent: must be plain ASCII text, on one line"),
        ('registry_api_version = "3"\n', "registry_api_version: must look like v3"),
        ('rate = "fast"\n', "rate: must be a valid number"),
    ],
)
def test_what_is_wrong_is_told_in_nobodys_jargon(text: str, said: str) -> None:
    write(Path("config.toml"), text)
    error = refused()
    assert (error.problem, error.place) == (said, "config.toml:1")


def test_a_value_that_another_makes_wrong_is_told_with_that_ones_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_MIN_CONCURRENCY", "9")
    assert str(refused()) == "max_concurrency: must not be below min_concurrency"
    assert refused().mend == "min_concurrency is that of HARVESTER_MIN_CONCURRENCY"


def test_the_nearest_setting_is_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("config.toml"), "per_pge = 5\n")
    assert refused().mend == "did you mean per_page?"
    write(Path("config.toml"), "")
    monkeypatch.setenv("HARVESTER_API_KEY", KEY)
    error = refused()
    assert (error.place, error.mend) == ("HARVESTER_API_KEY", "did you mean APTRUST_REGISTRY_API_KEY?")
    monkeypatch.delenv("HARVESTER_API_KEY")
    monkeypatch.setenv("HARVESTER_CONCURENCY", "5")
    assert refused().mend == "did you mean HARVESTER_CONCURRENCY?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 0), ("rate", "inf"), ("rate", "nan"), ("rate", "fast"), ("concurrency", 0), ("concurrency", 257),
        ("per_page", 0), ("per_page", 1001), ("connect_timeout", 0), ("read_timeout", -1), ("retry_budget", -1),
        ("max_body", 10), ("file_mode", "0o1777"), ("file_mode", "rw"), ("user_agent", ""), ("user_agent", "a\nb"),
        ("registry_api_version", "3"), ("registry_api_version", "v3/../x"), ("email", "a b"), ("email", "a\n"),
    ],
)  # fmt: skip
def test_origins_of_bad_values(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(**{name: value}).place == f"--{name.replace('_', '-')}"
    own = {"email": "APTRUST_REGISTRY_EMAIL", "registry_api_version": "APTRUST_REGISTRY_API_VERSION"}
    variable = own.get(name, f"HARVESTER_{name.upper()}")
    if value != "":
        monkeypatch.setenv(variable, str(value))
        assert refused().place == variable


def test_an_unknown_flag_is_refused() -> None:
    assert refused(bogus=1).place == "--bogus"


def test_origins_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("config.toml"), "\nper_page = 7\nconcurrency = 2\n")
    monkeypatch.setenv("HARVESTER_CONCURRENCY", "3")
    settings = load_settings({"rate": 1})
    assert settings.origins == {
        "registry_url": "profile production",
        "per_page": "config.toml:2",
        "concurrency": "HARVESTER_CONCURRENCY",
        "rate": "--rate",
    }


# Profiles


def test_profiles_and_who_chooses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(profile="demo").registry_url == "https://demo.aptrust.org"
    write(
        Path("config.toml"),
        'profile = "b"\n[profiles.a]\nrate = 1\n[profiles.b]\nrate = 2\n[profiles.demo]\nrate = 3\n',
    )
    assert load_settings().rate == 2.0
    monkeypatch.setenv("HARVESTER_PROFILE", "a")
    assert load_settings().rate == 1.0
    settings = load_settings(profile="demo")
    assert settings.rate == 3.0
    assert settings.registry_url == "https://demo.aptrust.org"


def test_an_unknown_profile_is_told_with_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(profile="prod")
    assert raised.value.place == "--profile"
    assert raised.value.mend == "known are demo, production"
    monkeypatch.setenv("HARVESTER_PROFILE", "prod")
    assert refused().place == "HARVESTER_PROFILE"


def test_a_profile_table_misspelt_is_told_without_its_content() -> None:
    write(Path("config.toml"), f'[profile.demo]\napi_key = "{KEY}"\n')
    error = refused()
    assert "[profiles.NAME]" in error.mend
    assert_sealed(error)


# Where the key may go to


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://x.example.org"]
)
def test_addresses_that_are_safe(url: str) -> None:
    assert load_settings({"registry_url": f"{url}/"}).registry_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://repo.aptrust.org",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "ftp://repo.aptrust.org",
        "repo.aptrust.org",
        "https://",
        "https:///x",
        "https://repo.aptrust.org/member-api/v3",
        "https://repo.aptrust.org?x=1",
        "https://repo.aptrust.org?",
        "https://repo.aptrust.org#",
        "https://user:word@repo.aptrust.org",
        "https://repo.aptrust.org@evil.example.com",
        "https://evil.example.com\\@repo.aptrust.org",
        "https://repo.aptrust.org\n.evil.example.com",
        "https://repo.aptrust.org:port",
        "https://repo.aptrust.org:99999",
        "https://[::1",
        " https://repo.aptrust.org",
        "",
    ],
)
def test_addresses_that_are_not(url: str) -> None:
    error = refused(registry_url=url)
    assert error.place == "--registry-url"
    assert "word" not in str(error)


# Credentials


def account(**flags: object) -> Credentials:
    return credentials(load_settings({"email": "a@b.edu", **flags}))


def test_both_are_needed() -> None:
    with pytest.raises(ConfigError, match="e-mail") as no_email:
        credentials(load_settings({"api_key": KEY}))
    assert "APTRUST_REGISTRY_EMAIL" in no_email.value.mend
    with pytest.raises(ConfigError, match="no API key") as no_key:
        account()
    assert "APTRUST_REGISTRY_API_KEY" in no_key.value.mend


def test_the_key_from_a_file_only_its_owner_can_read(tmp_path: Path) -> None:
    file = write(tmp_path / "my key", f"{KEY}\n")
    assert account(api_key_file=file).api_key.get_secret_value() == KEY
    for mode in (0o640, 0o604, 0o660, 0o610):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=f"0{mode:o}") as raised:
            account(api_key_file=file)
        assert raised.value.mend == f"chmod 600 '{file}'"
        assert_sealed(raised.value)


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_key_file_is_no_key(content: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no API key"):
        account(api_key_file=write(tmp_path / "key", content))


@pytest.mark.parametrize("content", [f"{KEY}\nsecond line".encode(), f"{KEY}é".encode(), KEY.encode() + b"\xff\xfe"])
def test_a_key_file_that_holds_something_else_is_not_quoted(content: bytes, tmp_path: Path) -> None:
    file = write(tmp_path / "key", "")
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        account(api_key_file=file)
    assert raised.value.place == f"api_key_file {file}"
    assert_sealed(raised.value)


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as raised:
        account(api_key_file=tmp_path / "nowhere")
    assert raised.value.place == f"api_key_file {tmp_path / 'nowhere'}"


def test_a_key_in_the_config_needs_a_file_only_its_owner_can_read() -> None:
    write(Path("config.toml"), f'email = "a@b.edu"\napi_key = "{KEY}"\n')
    assert credentials(load_settings()).api_key.get_secret_value() == KEY
    Path("config.toml").chmod(0o644)
    error = refused()
    assert error.place == "config.toml:2"
    assert error.problem == "the file holds an API key, and others may read it (mode 0644)"
    assert error.mend == "chmod 600 config.toml"
    assert_sealed(error)


def python(code: str) -> str:
    return f"{sys.executable} -c '{code}'"


def test_the_key_from_a_command_run_without_a_shell() -> None:
    command = f"{sys.executable} -c 'import sys; print(sys.argv[1])' {KEY};$(id)"
    with pytest.raises(ConfigError, match="other characters no key has") as raised:
        account(api_key_command=python("print(1, 2)"))
    assert raised.value.place == "api_key_command"
    assert account(api_key_command=command).api_key.get_secret_value() == f"{KEY};$(id)"


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (python("raise SystemExit(3)"), "exit code 3"),
        ("/nowhere/pass show x", "cannot be run"),
        ("pass 'show", "cannot be run"),
        (python(f'import sys; sys.stdout.buffer.write(b"{KEY}" + bytes([255]))'), "no key has"),
    ],
)
def test_a_command_that_fails_is_told_without_what_it_printed(command: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        account(api_key_command=command)
    assert raised.value.place == "api_key_command"
    if KEY not in command:
        assert_sealed(raised.value)
    assert raised.value.__context__ is None or "UnicodeDecodeError" not in repr(raised.value.__context__)


def test_a_command_that_hangs_is_given_up_and_what_it_printed_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(arguments, timeout, output=KEY.encode())

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ConfigError, match="60 s") as raised:
        account(api_key_command="pass show x")
    assert_sealed(raised.value)


def test_the_key_given_directly_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APTRUST_REGISTRY_API_KEY", "direct")
    assert account(api_key_file=tmp_path / "nowhere", api_key_command="nowhere").api_key.get_secret_value() == "direct"


# Secrecy


@pytest.mark.parametrize(
    "text",
    [f'api_key = ["{KEY}"]', f'api_key = {{ key = "{KEY}" }}', f'api_keys = "{KEY}"', f'api_key = "{KEY}'],
)
def test_a_key_written_wrongly_is_not_quoted(text: str) -> None:
    write(Path("config.toml"), text)
    assert_sealed(refused())


def test_a_file_that_is_not_utf_8_is_not_quoted() -> None:
    write(Path("config.toml"), "").write_bytes(f'api_key = "{KEY}\xff"\n'.encode("latin-1"))
    assert_sealed(refused())


def test_the_key_is_in_no_sight_of_the_settings() -> None:
    settings = load_settings({"api_key": KEY, "email": "a@b.edu"})
    for sight in (
        repr(settings),
        str(settings),
        repr(settings.origins),
        settings.model_dump_json(),
        repr(settings.model_dump()),
    ):
        assert KEY not in sight
    assert KEY not in repr(credentials(settings))


@pytest.mark.parametrize("key", [f"{KEY} x", f"{KEY}\n{KEY}", f"{KEY}é", f"{KEY}\x7f"])
def test_a_key_that_cannot_be_one_is_told_with_its_origin_and_not_quoted(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APTRUST_REGISTRY_API_KEY", key)
    with pytest.raises(ConfigError) as raised:
        account()
    assert raised.value.place == "APTRUST_REGISTRY_API_KEY"
    assert_sealed(raised.value)


def assert_sealed(error: BaseException) -> None:
    """The key is neither in the error nor in anything that hangs on it."""
    one: BaseException | None = error
    while one is not None:
        assert KEY not in f"{one} {one!r} {vars(one)}", f"the key is in {type(one).__name__}"
        one = one.__cause__ or one.__context__


@pytest.mark.parametrize("setting", ['registry_url = "https://evil.example"', 'api_key_command = "id"'])
def test_a_file_others_may_write_to_does_not_choose_where_the_key_goes(tmp_path: Path, setting: str) -> None:
    Path("config.toml").write_text(f"rate = 2\n{setting}\n")
    Path("config.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="others own or may write") as error:
        load_settings()
    assert error.value.place == "config.toml:2"
    Path("config.toml").chmod(0o644)
    assert load_settings().rate == 2


def test_variables_are_written_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("harvester_rate", "3")
    with pytest.raises(ConfigError, match="no such setting") as error:
        load_settings()
    assert error.value.mend == "did you mean HARVESTER_RATE?"


# apt-cmd's file

THEIRS = (
    f"APTRUST_REGISTRY_URL=https://demo.aptrust.org\nAPTRUST_REGISTRY_EMAIL=a@b.edu\nAPTRUST_REGISTRY_API_KEY={KEY}\n"
)


def apt_cmds(text: str = THEIRS, mode: int = 0o600) -> Path:
    return write(Path.home() / ".aptrust", text, mode)


def test_apt_cmds_file_is_read_where_nothing_else_gives_an_account() -> None:
    path = apt_cmds(f"{THEIRS}APTRUST_REGISTRY_API_VERSION=v4\nAPTRUST_AWS_KEY=other\n")
    write(Path("config.toml"), "rate = 2\n")
    settings = load_settings({"per_page": 7})
    assert credentials(settings) == Credentials("a@b.edu", SecretStr(KEY))
    assert (settings.registry_url, settings.registry_api_version) == ("https://demo.aptrust.org", "v4")
    assert (settings.rate, settings.per_page) == (2.0, 7)
    assert settings.origins["registry_url"] == f"{path}:1"
    assert settings.origins["api_key"] == f"{path}:3"
    assert settings.sources.apt_cmd == path


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("registry_url", "https://repo.aptrust.org"),
        ("email", "c@d.edu"),
        ("api_key", "other"),
        ("api_key_file", "key"),
        ("api_key_command", "pass"),
    ],
)
@pytest.mark.parametrize("layer", ["flag", "variable", "file", "profile"])
def test_of_two_accounts_nothing_is_mixed(
    layer: str, setting: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt_cmds()
    flags = {setting: value} if layer == "flag" else {}
    if layer == "variable":
        apt = {"api_key_file": "HARVESTER_API_KEY_FILE", "api_key_command": "HARVESTER_API_KEY_COMMAND"}
        names = {"registry_url": "URL", "email": "EMAIL", "api_key": "API_KEY"}
        monkeypatch.setenv(apt.get(setting) or f"APTRUST_REGISTRY_{names[setting]}", value)
    elif layer in ("file", "profile"):
        table = "[profiles.production]\n" if layer == "profile" else ""
        write(Path("config.toml"), f'{table}{setting} = "{value}"\n')
    settings = load_settings(flags)
    theirs = {"https://demo.aptrust.org", "a@b.edu", KEY}
    assert theirs.isdisjoint({settings.registry_url, settings.email, settings.api_key.get_secret_value()})
    assert settings.sources.apt_cmd is None
    assert f"{Path.home() / '.aptrust'} is not read, since" in settings.sources.passed_over
    assert setting.upper().removeprefix("REGISTRY_") in settings.sources.passed_over.upper().replace("-", "_") or (
        layer in ("file", "profile") and "config.toml:" in settings.sources.passed_over
    )


@pytest.mark.parametrize("chosen", ["flag", "variable", "file"])
def test_a_profile_that_was_chosen_is_a_choice_of_registry(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cmds()
    if chosen == "variable":
        monkeypatch.setenv("HARVESTER_PROFILE", "production")
    elif chosen == "file":
        write(Path("config.toml"), 'profile = "production"\n')
    settings = load_settings(profile="production" if chosen == "flag" else None)
    assert (settings.registry_url, settings.email) == (PRODUCTION, "")
    with pytest.raises(ConfigError) as raised:
        credentials(settings)
    assert ".aptrust is not read, since" in raised.value.mend


def test_a_version_of_the_api_is_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cmds(f"{THEIRS}APTRUST_REGISTRY_API_VERSION=v4\n")
    monkeypatch.setenv("APTRUST_REGISTRY_API_VERSION", "v5")
    settings = load_settings()
    assert (settings.email, settings.registry_api_version) == ("a@b.edu", "v5")


def test_a_key_without_its_registry_is_sent_to_none() -> None:
    path = apt_cmds(f"APTRUST_REGISTRY_EMAIL=a@b.edu\nAPTRUST_REGISTRY_API_KEY={KEY}\n")
    error = refused()
    assert error.place == f"{path}:2"
    assert "APTRUST_REGISTRY_URL" in error.mend
    assert_sealed(error)


def test_what_is_wrong_in_apt_cmds_file_is_told_with_its_line() -> None:
    path = apt_cmds(THEIRS.replace("https", "http"))
    assert refused().place == f"{path}:1"
    apt_cmds(f"{THEIRS}nonsense {KEY}\n")
    error = refused()
    assert error.place == f"{path}:4"
    assert_sealed(error)
    assert load_settings({"email": "c@d.edu"}).email == "c@d.edu", "what is not read is not looked at"


def test_apt_cmds_file_may_be_read_by_others_but_not_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    path = apt_cmds(mode=0o644)
    assert credentials(load_settings()).api_key.get_secret_value() == KEY
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (f"{path}: it holds an API key, and others may read it (mode 0644); chmod 600 {path}")
    caplog.clear()
    path.chmod(0o600)
    credentials(load_settings())
    assert caplog.records == []


def test_apt_cmds_file_may_not_be_written_by_others() -> None:
    path = apt_cmds(mode=0o666)
    error = refused()
    assert (error.place, error.mend) == (f"{path}:1", f"chmod go-w {path}, if it is yours")
    assert_sealed(error)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_apt_cmds_file_may_not_be_another_users() -> None:
    path = apt_cmds()
    os.chown(path, 12345, -1)
    assert "others own" in refused().problem


def test_a_user_whom_the_system_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert load_settings().email == ""
