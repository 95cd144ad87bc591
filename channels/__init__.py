"""BY WHAT MEANS: accounts, prices, limits, platform rules, adapters, inbox, links, sandbox."""
