# The commands that the README, CONTRIBUTING and CI use. `make` alone lists them.
PYTHON ?= python3
# Where CPU builds of torch are; set it empty where the default package index already has one.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
export TORCH_INDEX

BIN := .venv/bin
CHART := deploy/helm/retort

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: .up ## install, train the demo model if there is none, serve it on this machine
	@$(BIN)/retort up

test: .test ## install everything and run the whole suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile # most of it waits for processes; a file's tests share servers

lint: .test ## formatting, lint, types and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# First as many requests as 16 callers get answered, then 127 a second whatever happens (docs/decisions.md says why 127).
LOCUST := $(BIN)/locust -f loadtests/locustfile.py --headless --only-summary -t 52s --report runs/load
load: .test ## two minutes of load, HTTP and gRPC, against a running `make up`
	@$(BIN)/python -c 'import socket; socket.create_connection(("127.0.0.1", 8080), 5)' 2>/dev/null \
	  || { echo "No gateway answers at http://127.0.0.1:8080: start it with 'make up' and run 'make load' again." >&2; exit 1; }
	@failed=0; \
	$(LOCUST)/http --host http://127.0.0.1:8080 -u 16 -r 16 || failed=1; \
	$(LOCUST)/grpc --host grpc://127.0.0.1:8081 -u 64 -r 64 --rate 127 --p99-ms 50 || failed=1; \
	exit $$failed

bench: .up ## how fast this machine serves a model of model-repo/, beside what limits it (about ten minutes)
	@$(BIN)/retort bench

CHAOS_TESTS := $(addprefix tests/gateway/test_,faults.py byte_fuzz.py schema_fuzz.py grpc_fuzz.py)
chaos: .test ## faults in real processes, 10,000 malformed HTTP requests and as many gRPC calls; prints its figures
	@CHAOS=20 $(BIN)/python -m pytest --log-cli-level=INFO --log-disable=httpx $(CHAOS_TESTS)

proof: .test ## the demo training killed ten times, and in two processes, against an undisturbed one (up to an hour)
	@PROOF=10 $(BIN)/python -m pytest tests/training/test_demo_training.py

chart: .test ## render and check the Helm chart
	@$(BIN)/python -m pytest tests/deploy

e2e-kube: .test ## the chart in the real cluster of KUBECONFIG: tests/e2e_kube/conftest.py says what it needs
	@E2E_KUBE=1 $(BIN)/python -m pytest tests/e2e_kube

audit: .test ## look every pinned dependency up in PyPI's list of known vulnerabilities (needs the internet)
	@.ci/audit

lock: ## resolve constraints.txt anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml bootstrap.in --all-extras --universal --python-version 3.11 \
	  --no-annotate --no-header --output-file constraints.txt $(NOT_LOCKED)

# Only CUDA builds of torch ask for these; the last is what the base weights declare and nothing needs.
NOT_LOCKED := $(addprefix --no-emit-package ,cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas \
  nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand \
  nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 \
  nvidia-nvtx triton sentence-transformers)

clean: ## remove the virtual environment and run logs (never the model repository)
	rm -rf .venv runs

.up .test:
	@$(PYTHON) bootstrap.py $(@:.%=%)

.PHONY: help up test lint load bench chaos proof chart e2e-kube audit lock clean .up .test
