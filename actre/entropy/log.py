"""The log of finished states from which an interrupted diagnosis continues."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actre.config.model_names import settled
from actre.entropy.records import SCHEMA_VERSION, Settings
from actre.entropy.states import StateDiagnosis, state_from_json
from actre.types import ActreError, drop_torn_line, read_jsonl


class DiagnosisLog:
    """A JSONL file: a line of settings, then one line per state, written one by one."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    def read(self) -> dict[int, StateDiagnosis]:
        """The finished states by index; starts the file if there is none. Raises ActreError for other settings."""
        if self.path.exists():
            drop_torn_line(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write({"schema": SCHEMA_VERSION, "settings": asdict(self.settings)})
            return {}
        header, *lines = read_jsonl(self.path)
        theirs, ours = header.get("settings") or {}, asdict(self.settings)
        # a log that was started with a relative model path continues with the absolute one
        theirs["model"] = settled(str(theirs.get("model")))
        ours["model"] = settled(ours["model"])
        # a setting that older files lack counts as its default
        differ = [name for name in ours if theirs.get(name, getattr(Settings, name, None)) != ours[name]]
        if differ or header.get("schema") != SCHEMA_VERSION:
            raise ActreError(
                f"{self.path} holds a diagnosis with other settings ({', '.join(differ) or 'schema'}): "
                "choose another --out, or remove it"
            )
        states = [state_from_json(line) for line in lines]
        return {state.index: state for state in states}

    def append(self, state: StateDiagnosis) -> None:
        """Add a finished state."""
        self._write(asdict(state))

    def _write(self, record: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
