"""How a sublayer joins the stream: placements, found by walking this folder."""
