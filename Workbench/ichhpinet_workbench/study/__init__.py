"""The papers' evaluation on any manifest: judged round by round, told in their tables, with intervals and tests."""
