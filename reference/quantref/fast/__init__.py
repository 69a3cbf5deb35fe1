"""The same functions as the section modules, for speed; `quantref` exports these."""
