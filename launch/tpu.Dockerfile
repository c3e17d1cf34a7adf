# The program for Cloud TPU: docker build -f launch/tpu.Dockerfile -t IMAGE .
FROM python:3.11-slim
WORKDIR /hourglass_jax
COPY requirements.txt requirements-tpu.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt -r requirements-tpu.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY hourglass_jax hourglass_jax
COPY configs configs
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
# Not as root; any other user (--user) can use the home for caches and write relative paths there.
ENV HOME=/home/hourglass
RUN useradd --uid 1000 --home-dir "$HOME" --create-home hourglass && chmod 1777 "$HOME"
USER hourglass
WORKDIR /home/hourglass
ENTRYPOINT ["python", "-m", "hourglass_jax.main"]
