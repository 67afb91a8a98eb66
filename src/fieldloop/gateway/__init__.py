"""What devices reach: releases down, batches up; and which keys speak for which units, as persons registered them."""
