# The program for NVIDIA GPUs: docker build -f launch/cuda.Dockerfile -t IMAGE .
# docker run --gpus=all -v DIR:/data -v RUNS:/hourglass_jax/runs IMAGE \
#   --config=configs/mpii.py --config.data.manual_dir=/data --config.data.data_dir=/data/records
# CUDA's libraries come with JAX; the host needs only the driver and the NVIDIA container toolkit.
FROM python:3.11-slim
WORKDIR /hourglass_jax
COPY requirements.txt pyproject.toml setup.py README.md LICENSE ./
COPY hourglass_jax hourglass_jax
COPY configs configs
RUN pip install --no-cache-dir -c requirements.txt '.[train,cuda]'
ENTRYPOINT ["python", "-m", "hourglass_jax.main"]
