"""The content audit: what the staged episodes show, how evenly the splits show it, and what would help.

`rows` reads one episode, `balance` measures splits against each other, `rebalance` (beside this package)
proposes swaps, `report` and `page` write the balance report and the episode atlas for people.
"""
