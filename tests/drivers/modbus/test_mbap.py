import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import mbap

FRAMES = st.lists(
    st.builds(mbap.Frame, st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=253)),
    max_size=5,
)


@given(FRAMES, st.integers(1, 300))
def test_decoder_when_frames_arrive_in_pieces_then_each_is_whole_and_in_order(
    frames: list[mbap.Frame], piece: int
) -> None:
    stream = b"".join(mbap.encode(*frame) for frame in frames)
    decoder = mbap.Decoder()
    found = [f for at in range(0, len(stream), piece) for f in decoder.feed(stream[at : at + piece])]
    assert found == frames


@given(st.binary(max_size=600))
def test_decoder_when_bytes_are_arbitrary_then_only_a_frame_error_and_the_same_in_pieces(data: bytes) -> None:
    def decode(pieces: list[bytes]) -> tuple[list[mbap.Frame], bool]:
        decoder, frames = mbap.Decoder(), []
        try:
            for piece in pieces:
                frames += decoder.feed(piece)
        except mbap.FrameError:
            return frames, True
        return frames, False

    single, failed_single = decode([data[i : i + 1] for i in range(len(data))])
    whole, failed_whole = decode([data])
    assert failed_single == failed_whole
    assert whole == (single if not failed_whole else whole[:0])


@pytest.mark.parametrize(
    "header", ["0000 0000 0000 01", "0000 0000 0001 01", "0000 0000 00FF 01", "0000 0001 0006 01"]
)
def test_decoder_when_the_header_is_no_modbus_then_frame_error(header: str) -> None:
    with pytest.raises(mbap.FrameError):
        mbap.Decoder().feed(bytes.fromhex(header))
