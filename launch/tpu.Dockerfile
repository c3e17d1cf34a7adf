# The program for Cloud TPU: docker build -f launch/tpu.Dockerfile -t IMAGE .
FROM python:3.11-slim
WORKDIR /hourglass_jax
COPY requirements.txt pyproject.toml setup.py README.md LICENSE ./
COPY hourglass_jax hourglass_jax
COPY configs configs
RUN pip install --no-cache-dir -c requirements.txt '.[train,tpu]'
ENTRYPOINT ["python", "-m", "hourglass_jax.main"]
