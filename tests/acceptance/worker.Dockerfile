# A worker for pytest-celery's container nodes: its ping task, and its program that looks at processes.
FROM batuta
USER root
RUN pip install "pytest-celery>=1.3,<1.4" \
    && ln -s "$(python -c 'import pytest_celery.vendors.worker as worker; print(worker.__path__[0])')/content/utils.py" /app/
