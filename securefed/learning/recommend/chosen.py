"""Which items of the agreed catalogue a task on interactions is about."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from protocols.errors import AgreementError, MisuseError
from securefed.learning.recommend.catalogue import MAX_ITEMS, items_from_texts

Tag = Annotated[str, Field(pattern=r"^([0-9a-f]{12})?$")]


class ChosenItems(BaseModel):
    """Agreement parameters that every task on interactions shares.

    Attributes:
        items: items in the agreed catalogue.
        catalogue: its tag, 12 hexadecimal digits; data read with another one are refused.
        chosen: bitmap of the items that take part, see :func:`items_to_texts`; all unless given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    items: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    catalogue: Tag = ""
    chosen: Annotated[
        tuple[Annotated[str, Field(max_length=4096)], ...], Field(strict=False, max_length=64)
    ] = ()

    def chosen_items(self) -> NDArray[np.int64]:
        """Return the numbers of the items that take part.

        Raises:
            AgreementError: no bitmap of the catalogue.
        """
        try:
            return items_from_texts(self.chosen, self.items)
        except MisuseError as error:
            raise AgreementError("chosen", str(error), "use items_to_texts") from error
