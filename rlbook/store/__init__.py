"""The run store: results and verdicts as content-addressed files beside a rebuildable index."""

from rlbook.store.run_store import RunKey, RunStore, StoredVerdict, StoreError, StoreWarning, VerdictKey, default_root

__all__ = ["RunKey", "RunStore", "StoreError", "StoreWarning", "StoredVerdict", "VerdictKey", "default_root"]
