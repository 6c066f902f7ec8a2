"""A deployed function: does what it is made of fit the layer, and is it given enough?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdallm import __version__
from lambdallm_cli.doctor.report import Finding
from lambdallm_cli.doctor.target import ask, code_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lambdallm_cli.doctor.target import Target

ADVISED_MEMORY_MB = 256
WHOLE_CPU_MB = 1_769
"""Source: Lambda developer guide, "Configure function memory", 2026-10."""

ADVISED_TIMEOUT_SECONDS = 15
"""A model takes seconds to answer, and half of a short time, up to 5 s, is kept for the end."""

OLDEST_PYTHON = (3, 10)

_LAYER = "lambdallm"
_WRAPPER = "/opt/lambdallm/exec-wrapper"


def check_function(target: Target) -> Iterator[Finding]:
    """Look at the function's configuration; this machine has none."""
    configuration = target.configuration
    if configuration is None:
        return
    yield from _check_state(configuration)
    yield from _check_runtime(configuration)
    layer = _layer_arn(configuration)
    yield from _check_layer(target, configuration, layer)
    yield from _check_wrapper(target.environ, layer, configuration)
    yield from _check_memory(configuration)
    yield from _check_timeout(configuration)
    yield from _check_endpoints(target.environ)


def _check_state(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    state = configuration.get("State", "Active")
    update = configuration.get("LastUpdateStatus", "Successful")
    if state == "Failed" or update == "Failed":
        reason = configuration.get("StateReason") or configuration.get("LastUpdateStatusReason")
        yield Finding("function", "fail", f"It is broken: {reason}", "Deploy it anew.")
    elif update == "InProgress" or state == "Pending":
        yield Finding("function", "warn", "It is being deployed.", "Look again when it is done.")
    else:
        yield Finding("function", "ok", f"{configuration['FunctionArn']} is {state.lower()}.")


def _check_runtime(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    if configuration.get("PackageType") == "Image":
        yield Finding(
            "runtime",
            "warn",
            "A container image: layers do not reach it, and what is in it is not looked at.",
            "Copy what the layer holds to /opt in the Dockerfile.",
        )
        return
    runtime = str(configuration.get("Runtime", ""))
    if runtime.startswith("python"):
        parts = runtime[len("python") :].split(".")[:2]
        version = tuple(int(part) for part in parts if part.isdecimal())
        if version >= OLDEST_PYTHON:
            yield Finding("runtime", "ok", f"{runtime}, {_architecture(configuration)}.")
        else:
            advice = "Deploy it with python3.10 or newer; until then the sidecar stays idle."
            yield Finding("runtime", "fail", f"{runtime} is too old.", advice)
    else:
        said = f"{runtime} has no Python, which the sidecar and the SDK are written in."
        yield Finding("runtime", "fail", said, "Use python3.10 or newer, or detach the layer.")


def _architecture(configuration: Mapping[str, Any]) -> str:
    return str((configuration.get("Architectures") or ["x86_64"])[0])


def _layer_arn(configuration: Mapping[str, Any]) -> str:
    """Return the ARN of our layer's version, by its name; "" without one."""
    arns = [str(layer["Arn"]) for layer in configuration.get("Layers") or ()]
    return next((arn for arn in arns if _LAYER in arn.split(":")[6].lower()), "")


def _check_layer(target: Target, configuration: Mapping[str, Any], arn: str) -> Iterator[Finding]:
    if configuration.get("PackageType") == "Image":
        return
    if not arn:
        yield Finding(
            "layer",
            "fail",
            "No layer with lambdallm in its name is attached: there is no sidecar.",
            "Add its ARN to the function's Layers; `./build.sh publish` prints it.",
        )
        return
    try:
        layer = ask(target.client("lambda").get_layer_version_by_arn, Arn=arn)
    except ClientError as error:
        said = f"{arn} is attached, but cannot be read ({code_of(error)})."
        advice = "Allow yourself lambda:GetLayerVersion on it, to compare versions."
        yield Finding("layer", "warn", said, advice)
        return
    yield _compare_layer(layer, configuration, arn)


def _compare_layer(layer: Mapping[str, Any], configuration: Mapping[str, Any], arn: str) -> Finding:
    runtime, architecture = configuration.get("Runtime"), _architecture(configuration)
    runtimes = layer.get("CompatibleRuntimes") or [runtime]
    architectures = layer.get("CompatibleArchitectures") or [architecture]
    if runtime not in runtimes:
        said = f"{arn} is made for {', '.join(runtimes)}, the function runs {runtime}."
        return Finding("layer", "fail", said, "Change the runtime, or build the layer for it.")
    if architecture not in architectures:
        said = f"{arn} is made for {', '.join(architectures)}, the function runs {architecture}."
        return Finding("layer", "fail", said, "Change the architecture, or build the layer for it.")
    name, _, version = str(layer.get("Description") or "").partition(" ")
    if name != _LAYER or not version[:1].isdigit():
        said = f"{arn} does not say which version of lambdallm is in it."
        advice = 'The line "lambdallm: started sidecar=…" of a cold start\'s log does.'
        return Finding("layer", "warn", said, advice)
    if version != __version__:
        said = f"{arn} is lambdallm {version}, on this machine is {__version__}."
        return Finding("layer", "warn", said, "Publish and attach this version, or install that.")
    return Finding("layer", "ok", f"{arn}, lambdallm {version}.")


def _check_wrapper(
    environ: Mapping[str, str], layer: str, configuration: Mapping[str, Any]
) -> Iterator[Finding]:
    wrapper = environ.get("AWS_LAMBDA_EXEC_WRAPPER", "")
    if wrapper == _WRAPPER and not layer and configuration.get("PackageType") != "Image":
        yield Finding(
            "wrapper",
            "fail",
            f"AWS_LAMBDA_EXEC_WRAPPER={wrapper} is a file of the layer, which is not attached: "
            "the function cannot start.",
            "Attach the layer, or remove the variable.",
        )
    elif wrapper and wrapper != _WRAPPER:
        yield Finding(
            "wrapper",
            "ok",
            f"{wrapper} has the slot. Should unmodified clients go through the sidecar too: "
            f"AWS_LAMBDA_EXEC_WRAPPER={_WRAPPER} and LAMBDALLM_NEXT_WRAPPER={wrapper}, or "
            "`import lambdallm.auto`.",
        )
    elif wrapper:
        following = environ.get("LAMBDALLM_NEXT_WRAPPER")
        yield Finding("wrapper", "ok", f"Ours{f', then {following}' if following else ''}.")
    else:
        yield Finding("wrapper", "ok", "None; the decorator needs none.")


def _check_memory(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    memory_mb = int(configuration.get("MemorySize", 128))
    share = min(100, round(100 * memory_mb / WHOLE_CPU_MB))
    if memory_mb < ADVISED_MEMORY_MB:
        yield Finding(
            "memory",
            "warn",
            f"{memory_mb} MB come with {share} % of a CPU: after a crash the function starts "
            "at that speed, within its timeout.",
            f"Set MemorySize to {ADVISED_MEMORY_MB} MB or more.",
        )
    else:
        yield Finding("memory", "ok", f"{memory_mb} MB, {share} % of a CPU.")


def _check_timeout(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    seconds = int(configuration.get("Timeout", 3))
    if seconds < ADVISED_TIMEOUT_SECONDS:
        yield Finding(
            "timeout",
            "warn",
            f"{seconds} s are short for a model's answer; the end of them is kept free.",
            f"Set Timeout to {ADVISED_TIMEOUT_SECONDS} s or more (60 s is usual).",
        )
    else:
        yield Finding("timeout", "ok", f"{seconds} s.")


def _check_endpoints(environ: Mapping[str, str]) -> Iterator[Finding]:
    changed = sorted(name for name in environ if name.startswith("AWS_ENDPOINT_URL"))
    if changed:
        said = f"The function asks somebody else than AWS: {', '.join(changed)}."
        yield Finding("endpoints", "warn", said, "Remove what is not meant to be there.")
