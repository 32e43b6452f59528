"""The errors that raymark raises on purpose, each one clear sentence for its reader."""


class RaymarkError(Exception):
    """Base of every error that a user can cause or cure; the CLI prints it and exits with 2."""


class ConfigError(RaymarkError):
    """A campaign, a preset or an option holds a value that cannot be used."""


class SceneError(RaymarkError):
    """A scene, a site or a sampling area is unknown or cannot be used."""


class DatasetError(RaymarkError):
    """A dataset folder is missing, incomplete, occupied or cannot be written."""


class SchemaError(DatasetError):
    """A stored file or array differs from what the schema or the manifest promises."""


class PhysicsError(RaymarkError):
    """A value breaks a physical law, such as a delay shorter than the straight line."""


class RuntimeUnavailableError(RaymarkError):
    """No usable ray-tracing back-end (LLVM library or GPU) was found on this machine."""


class SplitError(RaymarkError):
    """A split leaks, differs from the one that was published, or cannot be made."""


class ScoringError(RaymarkError):
    """Predictions, truth or results do not fit together."""


class CheckpointError(RaymarkError):
    """A fitted model cannot be kept, is missing, or belongs to other code or data."""


class WorkError(RaymarkError):
    """A job failed where it was done; the text is that of its error."""


class ProcessDiedError(WorkError):
    """The process of a job died: it ran out of memory, was killed, or a library crashed."""


class ClusterError(RaymarkError):
    """A cluster cannot be started or reached, is unfit for the work, or was lost during it."""


_LONGEST_SENTENCE = 2000


def sentence_of(problem: BaseException) -> str:
    """Return an error as one sentence; the kind of one that nobody foresaw stands first.

    What no terminal should print, such as its own commands, is written as Python escapes it.
    """
    text = " ".join(str(problem).split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if len(text) > _LONGEST_SENTENCE:
        text = f"{text[:_LONGEST_SENTENCE]} ..."
    return text if isinstance(problem, RaymarkError) else f"{type(problem).__name__}: {text}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: one of them, or several.

    Args:
        count: How many there are.
        noun: What one is called.
        plural: What several are called, where it is not the noun with an `s`.

    Example:
        >>> counted(1, "band"), counted(2, "band"), counted(1200, "entry", "entries")
        ('1 band', '2 bands', '1,200 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
