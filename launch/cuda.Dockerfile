# The program for NVIDIA GPUs: docker build -f launch/cuda.Dockerfile -t IMAGE .
# docker run --gpus=all --user="$(id -u)" -v DIR:/data -v RUNS:/runs IMAGE --workdir=/runs/mpii \
#   --config=mpii --config.data.manual_dir=/data --config.data.data_dir=/runs/records
# Nothing has to be mounted if they are in a bucket, gs://BUCKET/...: see docs/buckets.md.
# CUDA's libraries come with JAX; the host needs only the driver and the NVIDIA container toolkit.
FROM python:3.11-slim
WORKDIR /hourglass_jax
COPY requirements.txt requirements-cuda.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt -r requirements-cuda.txt
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
