"""SecureFed: one model from data that may not leave its owners.

Users import this package only; ``protocols`` and ``parties`` beside it are internal. Names are
loaded when they are first used, so that ``import securefed`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from securefed._house import check_house

check_house()

# Turns TLS 1.2 off, which works only before anything in this process loads gRPC.
import parties.transport  # noqa: E402, F401 - the guard must run first; loaded for its effect
from protocols.version import __version__ as __version__  # noqa: E402 - the guard must run first

if TYPE_CHECKING:
    from protocols.agreement import Agreement as Agreement
    from protocols.agreement import load_agreement as load_agreement
    from protocols.errors import SecureFedError as SecureFedError
    from securefed.audit.auditor import Auditor as Auditor
    from securefed.ciphers import load_node_keys as load_node_keys
    from securefed.data.demo import breast_cancer_companies as breast_cancer_companies
    from securefed.data.loaders import load_party_data as load_party_data
    from securefed.data.table import Data as Data
    from securefed.deployment import Deployment as Deployment
    from securefed.federation import Federation as Federation
    from securefed.federation import MemberKeys as MemberKeys
    from securefed.keyholder import KeyHolder as KeyHolder
    from securefed.nodes import Coordinator as Coordinator
    from securefed.nodes import Party as Party
    from securefed.privacy_goal import PrivacyGoal as PrivacyGoal
    from securefed.simulation import simulate as simulate

__all__ = [
    "Agreement",
    "Auditor",
    "Coordinator",
    "Data",
    "Deployment",
    "Federation",
    "KeyHolder",
    "MemberKeys",
    "Party",
    "PrivacyGoal",
    "SecureFedError",
    "__version__",
    "breast_cancer_companies",
    "load_agreement",
    "load_node_keys",
    "load_party_data",
    "simulate",
]

_HOME: Final = {
    "Agreement": "protocols.agreement",
    "Auditor": "securefed.audit.auditor",
    "Coordinator": "securefed.nodes",
    "Data": "securefed.data.table",
    "Deployment": "securefed.deployment",
    "Federation": "securefed.federation",
    "KeyHolder": "securefed.keyholder",
    "MemberKeys": "securefed.federation",
    "Party": "securefed.nodes",
    "PrivacyGoal": "securefed.privacy_goal",
    "SecureFedError": "protocols.errors",
    "breast_cancer_companies": "securefed.data.demo",
    "load_agreement": "protocols.agreement",
    "load_node_keys": "securefed.ciphers",
    "load_party_data": "securefed.data.loaders",
    "simulate": "securefed.simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
