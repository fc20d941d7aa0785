"""What a person does on the page, and what they see of it."""

from playwright.sync_api import Page, expect

__all__ = ["answers", "menu", "said", "send", "shown_answer", "wait_done"]


def send(page: Page, text: str, *, accepted: bool = True) -> None:
    """Write it and press Enter; the field is empty when the server has it."""
    field = page.get_by_label("Message", exact=True)
    field.fill(text)
    field.press("Enter")
    if accepted:
        expect(field).to_have_value("")


def said(page: Page) -> list[str]:
    """The bubbles of the reader."""
    return page.locator("#transcript .bubble").all_text_contents()


def answers(page: Page) -> list[str]:
    """The text of each answer, without its tools and buttons."""
    found = page.locator("#transcript li.answer")
    return [
        "\n".join(found.nth(n).locator(".prose").all_text_contents()).strip()
        for n in range(found.count())
    ]


def shown_answer(page: Page, text: str) -> None:
    """Wait until the last answer reads exactly so."""
    expect(page.locator("#transcript li.answer").last.locator(".prose")).to_have_text(text)


def wait_done(page: Page) -> None:
    """Wait until nothing runs, and the transcript has it all."""
    expect(page.locator("li.answer[aria-busy=true]")).to_have_count(0)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#transcript > li:not(.settled)")).to_have_count(0)


def menu(page: Page, name: str) -> None:
    """Choose from the menu of the open chat."""
    page.get_by_role("button", name="Actions for this chat").click()
    page.get_by_role("menuitem", name=name).click()
