"""A module of shared tasks, as reusable packages have them."""

from __future__ import annotations

from celery import shared_task


@shared_task
def price_of(article: int) -> float:
    return round(1.5 * article, 2)


@shared_task
def discounted(price: float, percent: float = 0) -> float:
    return round(price * (100 - percent) / 100, 2)
