# The command `beyondprop` on the CPU: see docs/install.md.
#   docker build -t beyondprop .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" beyondprop compare --task digits-mlp
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# Python's packages are locked by hash, except PyTorch: its build without CUDA is pinned only by version.
# The base image has no digest: each build takes the newest Python 3.11, with its security fixes.
WORKDIR /opt/beyondprop
COPY requirements requirements
RUN python -m pip install --require-hashes --no-deps --only-binary :all: -r requirements/all.lock
RUN python -m pip install --no-deps --index-url https://download.pytorch.org/whl/cpu -r requirements/torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip install --no-deps --no-build-isolation .

# Any user may write here, including one that `docker run --user` names.
RUN useradd --create-home --uid 1000 beyondprop && mkdir --mode=1777 /work
ENV HOME=/tmp
USER beyondprop
WORKDIR /work
ENTRYPOINT ["beyondprop"]
CMD ["--help"]
