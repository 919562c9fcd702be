"""The viewer in the browser: 3D bodies, timeline and charts of recorded or live motion."""
