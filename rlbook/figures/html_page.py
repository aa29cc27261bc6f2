"""The skeleton of an exported page; `rlbook.figures.html` fills it in."""

from __future__ import annotations

from string import Template

# The policy makes the promise binding: nothing on the page can reach a network.
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval';
  style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">rlbook · $chapter</p>
<h1>$title</h1>
<p class="claim">$claim</p>
<p class="source">Source: $source</p>
$verdict
</header>
<form id="controls" aria-label="What the figure shows" autocomplete="off"></form>
$thinned
<figure>
<div id="figure" role="img" aria-label="The figure is being unpacked."></div>
<figcaption id="caption"></figcaption>
</figure>
<noscript><p class="note">The figure needs JavaScript; it is all in this file.</p></noscript>
<details open>
<summary>Parameters</summary>
<table>
$parameters
</table>
<p>Run it yourself: <code>$command</code></p>
</details>
<footer>Made by $made. This page needs no network.</footer>
</main>
<script type="application/octet-stream" id="plotly">$plotly</script>
<script type="application/octet-stream" id="movie">$movie</script>
<script>
$script
</script>
</body>
</html>
""")
