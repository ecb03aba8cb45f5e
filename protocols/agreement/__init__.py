"""The federation agreement: typed, bounded, one canonical byte string, signed by every party.

Nothing runs that is not in it: nodes refuse every message of another digest. TOML is for people,
:meth:`Agreement.canonical_bytes` for signatures.
"""

from protocols.agreement.members import Auditor as Auditor
from protocols.agreement.members import Coordinator as Coordinator
from protocols.agreement.members import Party as Party
from protocols.agreement.model import AdaptiveClip as AdaptiveClip
from protocols.agreement.model import Aggregation as Aggregation
from protocols.agreement.model import Agreement as Agreement
from protocols.agreement.model import Privacy as Privacy
from protocols.agreement.model import Task as Task
from protocols.agreement.model import TaskPrivacy as TaskPrivacy
from protocols.agreement.parse import agreement_from as agreement_from
from protocols.agreement.parse import load_agreement as load_agreement
from protocols.agreement.signatures import AgreementSignature as AgreementSignature
from protocols.agreement.signatures import SignedAgreement as SignedAgreement
from protocols.agreement.signatures import bring_into_force as bring_into_force
from protocols.agreement.signatures import check_signature as check_signature
from protocols.agreement.signatures import sign_agreement as sign_agreement
from protocols.agreement.validate import validate as validate
