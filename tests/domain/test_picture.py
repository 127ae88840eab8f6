from tabletap.domain.payment import PAYMENT_MOVES, REFUND_MOVES
from tabletap.domain.picture import PAGE, page


def test_the_page_of_lifecycles_is_the_one_drawn_from_the_tables() -> None:
    assert PAGE.read_text() == page()


def test_every_legal_move_is_drawn() -> None:
    drawn = page()
    for was, to in (*PAYMENT_MOVES, *REFUND_MOVES):
        assert f"{was} --> {to}:" in drawn
