# The same checks as .ci/run, in the environment you are in.
.PHONY: check format lint types layers test

check: lint types layers test

format:
	ruff check --fix .
	ruff format .

lint:
	ruff check .
	ruff format --check .

types:
	pyright

layers:
	lint-imports

test:
	pytest -q -n auto --dist worksteal
