"""Statements as banks write them, and our references as people spell them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain.base import PaymentId
from tabletap.domain.charge import reference
from tabletap.domain.errors import Refusal
from tabletap.domain.statement import MOST_LINES, DateStyle, Format, cents, read, references

SIMPLE = Format(amount="Amount")
HEAD = "Date,Amount,Description\n"


def lines(text, form=SIMPLE):
    """What a statement says came in, read without an error."""
    statement = read(text, form)
    assert not isinstance(statement, Refusal), statement
    assert statement.errors == ()
    return statement.lines


BANKS = {
    "signs, no header (CommBank)": (
        '10/03/2026,"+12.50","Direct Credit TT0123456789AB","+112.50"\n09/03/2026,"-5.00","Fee","+100.00"\n',
        Format(header=False, date=1, amount=2, description=(3,)),
    ),
    "debit and credit apart (Westpac)": (
        (
            "Bank Account,Date,Narrative,Debit Amount,Credit Amount,Balance,Categories,Serial\r\n"
            "032000111111,10/03/2026,DEPOSIT TT0123456789AB,,12.50,112.50,DEP,\r\n"
            "032000111111,09/03/2026,FEE,5.00,,100.00,FEE,\r\n"
        ),
        Format(credit="Credit Amount", description=("narrative",)),
    ),
    "the month by its name (NAB)": (
        (
            "Date,Amount,Account Number,,Transaction Type,Transaction Details,Balance\n"
            "10 Mar 26,12.50,123456,,INTER-BANK CREDIT,TT0123456789AB,112.50\n"
            "09 Mar 26,-5.00,123456,,FEES,FEE,100.00\n"
        ),
        Format(
            amount="Amount",
            description=("Transaction Type", "Transaction Details"),
            date_style=DateStyle.NAMED_SHORT,
        ),
    ),
    "dollars and parentheses, with a mark before all": (
        '\ufeffDate;Description;Amount\r\n2026-03-10;"TT0123456789AB; thanks";"$12.50"\r\n2026-03-09;Fee;($5.00)\r\n',
        Format(amount="Amount", delimiter=";", date_style=DateStyle.ISO),
    ),
    "a comma before the cents (Europe)": (
        "Datum;Text;Betrag\n10.03.2026;TT0123456789AB;12,50 EUR\n09.03.2026;Fee;-5,00 EUR\n",
        Format(
            date="datum", description=("Text",), amount="Betrag", delimiter=";", decimal=",", date_style=DateStyle.DOTS
        ),
    ),
}


@pytest.mark.parametrize("bank", BANKS)
def test_a_statement_is_read_as_its_bank_writes_it(bank):
    statement = read(*BANKS[bank])
    (line,) = statement.lines
    assert (line.booked_on, line.amount) == (date(2026, 3, 10), 1_250)
    assert "TT0123456789AB" in line.references
    assert (statement.outgoing, statement.errors) == (1, ())


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.34", 1_234),
        ("+12.3", 1_230),
        ("12", 1_200),
        (".05", 5),
        ("0.29", 29),
        ("1,234.50", 123_450),
        ("1,234,567.89", 123_456_789),
        ("1'234.50", 123_450),
        ("A$12.34", 1_234),
        ("AUD 12.34", 1_234),
        ("12.34 aud", 1_234),
        ("12.3400", 1_234),
        ("12.34 CR", 1_234),
        ("12.34 DR", -1_234),
        ("12.34-", -1_234),
        ("-$12.34", -1_234),
        ("$-12.34", -1_234),
        ("\u221212.34", -1_234),
        ("($1,234.00)", -123_400),
        ("", 0),
    ],
)
def test_an_amount_is_read_to_the_cent(text, amount):
    assert cents(text) == amount


@given(st.integers(-(10**11), 10**11))
def test_every_amount_survives_being_written(amount):
    whole, rest = divmod(abs(amount), 100)
    sign = "-" if amount < 0 else ""
    assert cents(f"{sign}{whole:,}.{rest:02}") == cents(f"{sign}{whole}.{rest:02}") == amount
    assert cents(f"{sign}{whole},{rest:02}", ",") == amount


@pytest.mark.parametrize(
    "text", ["abc", "-", "$", ".", "12.345", "1,23.4", "1e5", "1.2.3", "0x10", "12,34,567.00", "\u0661"]
)
def test_what_is_no_amount_is_an_error_of_its_line_and_never_a_guess(text):
    statement = read(f'{HEAD}10/03/2026,"{text}",TT0123456789AB\n10/03/2026,1.00,fine\n', SIMPLE)
    assert [error.line for error in statement.errors] == [2]
    assert [line.amount for line in statement.lines] == [100]


def test_a_line_that_cannot_be_read_stops_no_other_and_is_not_quoted():
    text = f"{HEAD}10/03/2026,1.00,first\nyesterday,2.00,second\n31/02/2026,3.00,third\n,4.00\n10/03/2026,5.00,last\n"
    statement = read(text, SIMPLE)
    assert [line.amount for line in statement.lines] == [100, 500]
    assert [error.line for error in statement.errors] == [3, 4, 5]
    assert "yesterday" not in str(statement.errors)


def test_a_line_with_a_card_number_is_not_taken():
    card = "4111 1111 1111 1111"
    statement = read(f"{HEAD}10/03/2026,1.00,card {card}\n10/03/2026,1.00,fine\n", SIMPLE)
    assert [error.line for error in statement.errors] == [2]
    assert [line.description for line in statement.lines] == ["fine"]
    assert card not in str(statement)


@pytest.mark.parametrize(
    ("text", "form", "field"),
    [
        (HEAD, Format(), "format.amount"),
        (HEAD, Format(amount="Amount", credit="Amount"), "format.amount"),
        ("", SIMPLE, "csv"),
        ("\n\r\n  \n", SIMPLE, "csv"),
        (HEAD, Format(amount="Sum"), "format.amount"),
        (HEAD, Format(amount="Amount", date="Day"), "format.date"),
        (HEAD, Format(amount="Amount", description=("Description", "Particulars")), "format.description"),
        (HEAD, Format(amount="Amount", id="Id"), "format.id"),
        (HEAD + "10/03/2026,1.00,x\n" * (MOST_LINES + 1), SIMPLE, "csv"),
        ("x" * 200_000, SIMPLE, "csv"),
    ],
)
def test_a_file_that_is_none_of_its_format_is_refused_by_the_field(text, form, field):
    refusal = read(text, form)
    assert isinstance(refusal, Refusal)
    assert [error.field for error in refusal.errors] == [field]


def test_the_most_lines_that_may_be_are_read():
    rows = "".join(f"10/03/2026,1.00,number {number}\n" for number in range(MOST_LINES))
    assert len(lines(HEAD + rows)) == MOST_LINES


# -- ids

ROW = "10/03/2026,1.00,TT0123456789AB\n"


def test_equal_lines_of_a_day_are_two_payments_and_so_are_two_lines():
    first, second = lines(HEAD + ROW * 2)
    assert first.id != second.id


def test_an_overlapping_statement_names_the_same_lines_alike():
    earlier = {line.id for line in lines(HEAD + "09/03/2026,1.00,older\n" + ROW)}
    later = {line.id for line in lines(HEAD + "11/03/2026,3.00,newer\n" + ROW * 2)}
    assert len(earlier & later) == 1
    reversed_file = {line.id for line in lines(HEAD + ROW * 2 + "11/03/2026,3.00,newer\n")}
    assert later == reversed_file


def test_how_a_line_is_spelled_does_not_change_which_one_it_is():
    quoted = 'Description,Amount,Date\r\n"tt0123456789ab ",+1,10/03/2026\r\n'
    assert [line.id for line in lines(quoted)] == [line.id for line in lines(HEAD + ROW)]


def test_another_day_amount_or_text_is_another_line():
    rows = (ROW, ROW.replace("10/", "11/"), ROW.replace("1.00", "1.01"), ROW.replace("AB", "AC"))
    assert len({line.id for line in lines(HEAD + "".join(rows))}) == 4


def test_the_banks_own_id_is_used_where_there_is_one():
    text = "Date,Amount,Description,Id\n10/03/2026,1.00,a,N-1\n10/03/2026,1.00,a,N-2\n10/03/2026,1.00,a,\n"
    ids = [line.id for line in lines(text, Format(amount="Amount", id="Id"))]
    assert ids[:2] == ["N-1", "N-2"]
    assert len(ids[2]) == 64


def test_an_id_that_stands_twice_is_none_and_no_money_is_taken_for_a_repeat():
    text = "Date,Amount,Description,Id\n10/03/2026,1.00,a,N-1\n10/03/2026,2.00,b,N-1\n10/03/2026,1.00,c,N-2\n"
    statement = read(text, Format(amount="Amount", id="Id"))
    assert [line.id for line in statement.lines] == ["N-2"]
    assert [error.line for error in statement.errors] == [2, 3]


# -- references


@pytest.mark.parametrize(
    "text",
    [
        "TT0123456789AB",
        "tt0123456789ab",
        "TTO123456789AB",
        "ttoi2345678-9AB",
        "TT 0123 4567 89AB",
        "T T0123456789AB",
        "TTol23456789ab",
        "OSKO PAYMENT TT0123456789AB thanks",
        "REF:TT0123456789AB/INV7",
        "DIRECT CREDIT TT0123456789AB",
        "XXTT0123456789ABXX",
    ],
)
def test_a_reference_is_read_however_it_is_spelled(text):
    assert "TT0123456789AB" in list(references(text))


@pytest.mark.parametrize("text", ["", "TT", "TT0123456789A", "TT  0123456789AB", "TTU123456789AB", "table 12, thanks"])
def test_what_is_no_reference_is_not_read_as_one(text):
    assert list(references(text)) == []


@given(
    st.uuids().map(PaymentId),
    st.lists(st.sampled_from(("", "", " ", "-")), min_size=14, max_size=14),
    st.booleans(),
    st.text(st.characters(codec="ascii", categories=["L", "Zs", "P"]), max_size=20),
)
def test_every_reference_of_ours_is_found_in_whatever_stands_around_it(ident, gaps, lower, around):
    ours = reference(ident)
    spelled = "".join(gap + letter for gap, letter in zip(gaps, ours, strict=True)).strip(" -")
    text = f"{around} {spelled.lower() if lower else spelled} {around}"
    assert ours in list(references(text))
