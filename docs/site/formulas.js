// Formulas of arithmatex, drawn by KaTeX on every page, also after instant navigation.
function drawFormulas() {
  document.querySelectorAll('.arithmatex').forEach(function (element) {
    const text = element.textContent.trim()
    katex.render(text.slice(2, -2), element, {
      displayMode: text.startsWith('\\['), throwOnError: false })
  })
}
document.addEventListener('DOMContentLoaded', drawFormulas)
