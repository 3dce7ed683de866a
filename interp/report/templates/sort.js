// the bundle of itables puts jQuery, with DataTables as its plugin, at window.$
$("table.sortable").each((_, table) => {
  const long = table.tBodies[0].rows.length > 10;
  $(table).DataTable({
    paging: false,
    order: [],
    autoWidth: false,
    layout: { topStart: long ? "search" : null, topEnd: null, bottomStart: null, bottomEnd: null },
  });
  // the library scrolls a box of its own, which the keyboard must reach too
  const outer = $(table).closest(".scroll");
  $(table).parent().attr({ tabindex: 0, role: "region", "aria-label": outer.attr("aria-label") });
  outer.removeAttr("tabindex role aria-label");
});
