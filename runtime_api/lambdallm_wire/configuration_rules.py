"""What is wrong between the keys of a configuration: who is asked, with what, and where.

checked values ──overlay of the environment──► check_rules ──► (what holds of it, faults)
"""

from __future__ import annotations

from lambdallm_wire import configuration as schema, configuration_spending
from lambdallm_wire.configuration_faults import (
    Fault,
    Faults,
    check_values,
    nearest,
    overlay,
    shown,
)
from lambdallm_wire.model_names import SHORT_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from lambdallm_wire.configuration_faults import Lines, Path

_ARN_PARTS = 6
_ACCOUNT_DIGITS = 12
_KEY_LETTERS_MIN = 16
"""A shorter literal is a stand-in such as `none` or `local`, which local servers are given."""

_SHOWN_MAX = 20
"""Names of environments in one sentence."""

_SECRETS = {"secretsmanager": "secret:", "ssm": "parameter/"}


def check(document: Any, lines: Lines, environment: str = "") -> tuple[dict[str, Any], Faults]:
    """Hold a document against the schema and the rules, as it is in an environment.

    Args:
        document: What was read, of any shape.
        lines: Of each path.
        environment: Whose part of the document lies over the rest, "" for none.

    Returns:
        What holds of it, without `environments`, and everything that does not.
    """
    held, faults = check_values(document)
    merged = overlay(held, environment)
    _check_rules(merged, faults)
    configuration_spending.close_broken_budgets(merged, document, faults)
    faults.locate(lines, environment)
    return merged, faults


def _check_rules(held: dict[str, Any], faults: Faults) -> None:
    """Look at everything, and take away what cannot hold."""
    _section(held, "providers", _check_provider, faults)
    aliases = set(held.get("models", {}))
    providers = set(held.get("providers", {}))
    known = sorted(providers.union(schema.BUILT_IN))

    def check_alias(name: str, alias: dict[str, Any], faults: Faults) -> bool:
        return _check_alias(name, alias, (aliases, known), faults)

    _section(held, "models", check_alias, faults)
    gone = aliases.difference(held.get("models", {}))
    for alias in held.get("models", {}).values():
        alias["fallbacks"] = [name for name in alias["fallbacks"] if name not in gone]
    model = held.get("defaults", {}).get("model")
    path = ("defaults", "model")
    if model in gone:
        faults.error(path, f"{shown(model)} is an alias that does not hold itself.")
        del held["defaults"]["model"]
    elif model is not None and not _check_model(path, model, (aliases, known), faults):
        del held["defaults"]["model"]
    configuration_spending.check(held.get("cost", {}), faults)
    cheaper, path = held.get("cost", {}).get("downgrade_to"), ("cost", "downgrade_to")
    if cheaper is not None and not _check_model(path, cheaper, (aliases, known), faults):
        del held["cost"]["downgrade_to"]
    _check_region(("defaults",), held.get("defaults", {}), faults)
    _check_circles(held.get("models", {}), faults)


def _section(held: dict[str, Any], section: str, rule: Any, faults: Faults) -> None:
    """Apply a rule to each entry of a section; those that cannot hold are taken away."""
    for name, entry in list(held.get(section, {}).items()):
        if not name.strip() or "/" in name or not name.isprintable():
            faults.error((section, name), "A name is one line of text without '/'.")
            del held[section][name]
        elif not rule(name, entry, faults):
            del held[section][name]


def _check_provider(name: str, provider: dict[str, Any], faults: Faults) -> bool:
    path = ("providers", name)
    kind = provider.get("kind") or (name if name in schema.KINDS else "")
    if not kind:
        if all(fault.path != (*path, "kind") for fault in faults):  # it is wrong: that was said
            said = f"`kind` is missing: {', '.join(schema.KINDS)}."
            faults.error(path, said, nearest(name, schema.BUILT_IN))
        return False
    for needing, key in (("openai-compatible", "base_url"), ("own", "class")):
        if kind == needing and key not in provider:
            faults.error(path, f"`{key}` is missing, which a provider of kind {kind!r} needs.")
            return False
    for key, kinds in (("class", ("own",)), ("hourly_usd", ("sagemaker",))):
        if key in provider and kind not in kinds:
            faults.warn((*path, key), f"A provider of kind {kind!r} has no use for it.")
    _check_region(path, provider, faults)
    _drop(path, provider, "base_url", _fault_of_url(provider.get("base_url", "")), faults)
    _drop(path, provider, "role_arn", _fault_of_role(provider.get("role_arn", "")), faults)
    _drop(path, provider, "class", _fault_of_class(provider.get("class", "")), faults)
    _drop(path, provider, "api_key", _fault_of_reference(provider.get("api_key", "")), faults)
    if _looks_like_a_key(provider.get("api_key", "")):
        said = "A key stands here itself. Put it into a secret, and the secret's ARN here."
        faults.warn((*path, "api_key"), said)
    if provider.get("base_url", "").startswith("http://") and not _is_near(provider["base_url"]):
        said = "Without https, prompts and keys can be read on the way."
        faults.warn((*path, "base_url"), said)
    return kind != "own" or "class" in provider


def _drop(path: Path, entry: dict[str, Any], key: str, fault: str, faults: Faults) -> None:
    if fault:
        faults.error((*path, key), fault)
        del entry[key]


def _check_alias(
    name: str, alias: dict[str, Any], known: tuple[set[str], list[str]], faults: Faults
) -> bool:
    path = ("models", name)
    both = [key for key in ("model", "model_id") if key in alias]
    if not both:
        faults.error(path, "`model` is missing: provider/model.")
        return False
    if len(both) > 1:
        faults.error((*path, "model_id"), "`model` says it already; `model_id` is left out.")
        del alias["model_id"]
    if "model" in alias and "provider" in alias:
        faults.error((*path, "provider"), "`model` says it already; this is left out.")
        del alias["provider"]
    _check_region(path, alias, faults)
    if "model" not in alias:
        alias["model"] = f"{alias.pop('provider', 'bedrock')}/{alias.pop('model_id')}"
        key = "provider"
    else:
        key = "model"
    model = alias["model"]
    if model in known[0]:
        said = f"{model!r} is an alias itself; an alias stands for a provider/model."
        faults.error((*path, "model"), said)
        return False
    if not _check_model((*path, key), model, (set(), known[1]), faults):
        return False
    if "/" not in model or model.startswith("arn:"):
        alias["model"] = f"bedrock/{model}"
    fallbacks = alias.get("fallbacks", [])
    alias["fallbacks"] = [
        fallback
        for place, fallback in enumerate(fallbacks)
        if _check_model((*path, "fallbacks", place), fallback, known, faults)
    ]
    return True


def _check_model(path: Path, model: str, known: tuple[set[str], list[str]], faults: Faults) -> bool:
    """Say whether a name can be a model's: an alias, `provider/model`, or Bedrock's own."""
    aliases, providers = known
    if model in aliases:
        return True
    if model.startswith("arn:"):
        fault = _fault_of_arn(model)
        if fault:
            faults.error(path, fault)
        return not fault
    if "/" in model:
        return _check_qualified(path, model, providers, faults)
    if "." in model or ":" in model or model in SHORT_NAMES:
        return True
    close = nearest(model, [*aliases, *SHORT_NAMES])
    faults.error(path, f"{shown(model)} is no alias and no model: write provider/model.", close)
    return False


def _check_qualified(path: Path, model: str, providers: list[str], faults: Faults) -> bool:
    provider, _, model_id = model.partition("/")
    if not provider or not model_id.strip():
        faults.error(path, f"{shown(model)} lacks a half: write provider/model.")
        return False
    if provider in providers:
        return True
    close = nearest(provider, providers)
    if close:
        faults.error(path, f"There is no provider {provider!r}.", f"{close}/{model_id}")
        return False
    said = f"Provider {provider!r} is not configured; the function itself has to bring it."
    faults.warn(path, said)
    return True


def _check_circles(models: Mapping[str, Any], faults: Faults) -> None:
    """Name each circle of fallbacks once, at the alias that comes first in it."""
    told: set[frozenset[str]] = set()
    for name in models:
        for circle in _circles(name, models):
            if frozenset(circle) not in told:
                told.add(frozenset(circle))
                way = " → ".join([*circle, circle[0]])
                faults.error(("models", name, "fallbacks"), f"The fallbacks go in a circle: {way}.")


def _circles(name: str, models: Mapping[str, Any]) -> Iterator[list[str]]:
    """Walk the fallbacks behind an alias, each alias once, and return the ways back to it."""
    ways = [[name]]
    seen = {name}
    while ways:
        way = ways.pop()
        for fallback in models[way[-1]].get("fallbacks", ()):
            if fallback == name:
                yield way
            elif fallback in models and fallback not in seen:
                seen.add(fallback)
                ways.append([*way, fallback])


def _check_region(path: Path, entry: dict[str, Any], faults: Faults) -> None:
    region = entry.get("region", "us-east-1")
    parts = region.split("-")
    if not (region.isascii() and region.replace("-", "").isalnum() and parts[-1].isdigit()):
        faults.error((*path, "region"), f"{shown(region)} is not a region such as us-east-1.")
        del entry["region"]


def _fault_of_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if not url or (scheme in ("http", "https") and rest.partition("/")[0] and _is_plain(rest)):
        return ""
    return f"{shown(url)} is not a URL such as https://llm.example.com/v1."


def _fault_of_role(arn: str) -> str:
    parts = arn.split(":", _ARN_PARTS - 1)
    if not arn or (
        len(parts) == _ARN_PARTS
        and parts[0] == "arn"
        and parts[2] == "iam"
        and _is_account(parts[4])
        and parts[5].startswith("role/")
    ):
        return ""
    return f"{shown(arn)} is not the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME."


def _fault_of_arn(arn: str) -> str:
    parts = arn.split(":", _ARN_PARTS - 1)
    if len(parts) == _ARN_PARTS and all((parts[1], parts[2], parts[3], parts[5])):
        return ""
    return f"{shown(arn)} is not an ARN: arn:aws:bedrock:REGION:ACCOUNT:inference-profile/ID."


def _fault_of_class(name: str) -> str:
    module, _, found = name.partition(":")
    if not name or (found.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        return ""
    return f"{shown(name)} is not package.module:Class."


def _fault_of_reference(reference: str) -> str:
    """Say what is wrong with the form of an `api_key`; nothing of it is repeated but an ARN."""
    if reference.startswith("env:"):
        return "" if reference[4:].isidentifier() else "`env:` needs the name of a variable."
    if not reference.startswith("arn:"):
        return "" if _is_plain(reference) else "A key is one line of ASCII without blanks."
    parts = reference.split(":", _ARN_PARTS - 1)
    resource = _SECRETS.get(parts[2]) if len(parts) == _ARN_PARTS else None
    if resource and parts[3] and _is_account(parts[4]) and parts[5].startswith(resource):
        return ""
    return (
        f"{shown(reference)} is the ARN of no secret: arn:aws:secretsmanager:REGION:ACCOUNT:"
        "secret:NAME or arn:aws:ssm:REGION:ACCOUNT:parameter/NAME."
    )


def _looks_like_a_key(reference: str) -> bool:
    return not reference.startswith(("env:", "arn:")) and len(reference) >= _KEY_LETTERS_MIN


def _is_account(text: str) -> bool:
    return len(text) == _ACCOUNT_DIGITS and text.isdigit()


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_near(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host.startswith(("localhost", "127.", "[::1]", "10.", "192.168."))


def environments(document: Any) -> Iterable[str]:
    """Return the names of a document's environments, whatever shape it has."""
    found = document.get(schema.ENVIRONMENTS) if isinstance(document, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []


def fault_of_environment(environment: str, known: Iterable[str]) -> Fault | None:
    """Say that a file does not have the environment that was chosen; "" is none.

    Args:
        environment: What `LAMBDALLM_ENV` says.
        known: The names of the file's own; "" among them is what stands outside of all.
    """
    names = [name for name in known if name]
    if not environment or environment in names:
        return None
    there = ", ".join(shown(name) for name in names[:_SHOWN_MAX]) or "there are none"
    said = f"LAMBDALLM_ENV={shown(environment)} is none of them ({there}); none of them holds."
    return Fault("warning", (schema.ENVIRONMENTS,), said, nearest(environment, names))
