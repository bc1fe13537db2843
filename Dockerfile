# One image for workers, Flower and the command line; docker-compose.yml says which one a container is.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    POLARS_MAX_THREADS=1

WORKDIR /app

# Before the code, so that a change of code does not install everything anew.
COPY requirements.txt ./
RUN pip install -r requirements.txt

RUN useradd --system --create-home --uid 10001 batuta \
    && mkdir /data \
    && chown batuta:batuta /data
COPY . ./

USER batuta
VOLUME /data

CMD ["python", "manage.py", "worker"]
